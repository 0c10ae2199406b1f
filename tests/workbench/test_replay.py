"""Replay of runs of a real model, in a conversation, in an experiment, and from a document."""

import dataclasses
import json
import os
import shutil

import pytest
from tests.workbench.experiment_writer import (
    chat,
    run_experiment,
    run_prompts,
    save_experiment,
    write_document,
)

from paragone import InputError, WeightsFile
from paragone.wire import to_json
from paragone_workbench.config.read import load
from paragone_workbench.config.state import State
from paragone_workbench.consent import Consent
from paragone_workbench.engines.definitions import EngineDefinition, without_secrets
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.document import read_document
from paragone_workbench.experiments.identity import digest_weights, weights_in
from paragone_workbench.experiments.recorded_runs import (
    Change,
    compare_weights,
    recorded_runs,
)
from paragone_workbench.experiments.replay import (
    Replay,
    replayable,
)
from paragone_workbench.experiments.replay_engines import engines_to_replay
from paragone_workbench.store import Store, StoreError

OPTIONS = {"n_ctx": 256, "n_threads": 1, "max_tokens": 12}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A home folder for all tests with the model, so that its path is the same in their recordings."""
    return tmp_path_factory.mktemp("machine")


@pytest.fixture
def model(smollm2, machine, monkeypatch):
    """A copy of the real model in the home folder, which a test can replace."""
    folder = machine / "models"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    monkeypatch.setenv("HOME", str(machine))
    return shutil.copy2(smollm2, folder / "smol.gguf")


@pytest.fixture(scope="module")
def recordings():
    """The results of the experiments that `record` has run."""
    return {}


@pytest.fixture
def record(history, recordings):
    """A function like `run_experiment` with the test's history. Tests that record the same share the results."""

    async def saved(engines, prompts):
        key = repr((engines, prompts))
        if key not in recordings:
            recordings[key] = await run_prompts(engines, prompts)
        return await save_experiment(history, engines, prompts, recordings[key])

    return saved


@pytest.fixture
async def run(history, record, rogue):
    """The recorded run of an experiment with one prompt, on the rogue backend, which is a test double."""
    number = await record([rogue("steady", max_tokens=3)], ["One?"])
    (run,) = await recorded_runs(history, f"e{number}")
    return run


@pytest.fixture
def smol(model):
    def define(**options):
        return EngineDefinition(
            name="smol", backend="llama_cpp", model=str(model), options={**OPTIONS, **options}
        )

    return define


async def replayed(history, runs, **choices):
    """Repeat runs; return the results and the engines."""
    replay = await repeat(history, runs, **choices)
    return replay.results, replay.engines


async def repeat(history, runs, **choices):
    able, skipped = replayable(runs)
    registry = Registry()
    engines = await engines_to_replay(able, load(None), registry, history, **choices)
    replay = Replay(engines, registry, history)
    try:
        assert [result async for result in replay.runs()] == replay.results
    finally:
        await replay.close()
    assert replay.to_json("x", skipped)["total"] == len(replay.results)
    return replay


def consent_to(document, **fields):
    """The consent of a user who is not there to be asked."""
    return Consent(document=document, state=State(document.with_name("state.toml")), **fields)


def changed(report):
    return {change.what: (change.before, change.now) for change in report.changes}


@pytest.mark.model
async def test_a_conversation_gives_the_same_answers_with_the_seeds_that_were_drawn(history, smol):
    number = await chat(history, smol(temperature=0.8), ["Name three colours.", "And three more."])
    runs = await recorded_runs(history, f"c{number}")
    assert runs[0].result.settings.seed != runs[1].result.settings.seed
    assert [len(run.messages) for run in runs] == [2, 4]
    results, (report,) = await replayed(history, runs)
    # The second answer was computed with a KV cache, which can change the rounding.
    assert results[0].same, results[0].difference
    assert report.reused_cache == 1
    assert report.weights.same
    assert not set(changed(report)) & {"seed", "temperature", "messages", "rendered prompt", "weights"}
    (second,), _ = await replayed(history, await recorded_runs(history, runs[1].id))
    assert second == results[1], "an engine that is asked the same from an empty cache repeats itself"


@pytest.mark.parametrize(
    ("now", "same", "by", "message"),
    [
        ({}, True, "modified", "the same file"),
        ({"modified_ns": 2}, None, "size", "is unknown"),
        ({"modified_ns": 2, "size": 8}, False, "size", "different"),
    ],
)
def test_without_digests_sizes_and_times_are_compared(now, same, by, message):
    file = WeightsFile(path="/m.gguf", size=7, modified_ns=1)
    verdict, _ = compare_weights([file], [dataclasses.replace(file, **now)])
    assert (verdict.same, verdict.by) == (same, by)
    assert message in verdict.sentence


@pytest.mark.model
async def test_missing_weights_are_found_elsewhere_and_different_ones_are_reported(
    history, record, smol, model, smaller_smollm2
):
    number = await record([smol(temperature=0)], ["Name a colour."])
    runs = await recorded_runs(history, f"e{number}")
    await digest_weights(history, weights_in(runs[0].result.manifest))
    elsewhere = model.parent / "sub" / "renamed.gguf"
    elsewhere.parent.mkdir()
    model.rename(elsewhere)
    (result,), (report,) = await replayed(history, runs)  # ~/models is searched
    assert result.same
    assert report.definition.model.endswith("renamed.gguf")
    assert (report.weights.same, report.weights.by) == (True, "sha256")
    elsewhere.unlink()
    with pytest.raises(InputError, match=r"The weights of smol are gone: there is no file .*smol\.gguf"):
        await replayed(history, runs)
    shutil.copy(smaller_smollm2, model)
    replay = await repeat(history, runs)
    results, (report,) = replay.results, replay.engines
    assert (report.weights.same, report.weights.by) == (False, "sha256")
    before, now = changed(report)["weights"]
    assert before != now
    assert "SHA-256" in before
    assert changed(report)["quantization"] == ("Q4_1", "Q4_0")
    assert "weights" in replay.verdict or results[0].same


def with_result(run, **fields):
    """Return a recorded run whose result has other values."""
    return dataclasses.replace(run, result=dataclasses.replace(run.result, **fields))


def with_engine(run, **fields):
    """Return a recorded run of an engine whose definition has other values."""
    return with_result(run, definition=dataclasses.replace(run.result.definition, **fields))


async def test_an_engine_that_crashes_fails_its_run_and_is_opened_again(history, record, rogue):
    engine = rogue("steady", max_tokens=3, at=0)
    number = await record([engine], ["One?", "Two?"])
    runs = await recorded_runs(history, f"e{number}")
    crashing = [with_engine(run, model="exit") for run in runs]
    replay = await repeat(history, crashing)
    results, (report,) = replay.results, replay.engines
    assert all("ended" in str(result.error) or "crash" in str(result.error) for result in results)
    assert report.weights.same is None
    assert replay.verdict == "0 of 2 answers are the same. 2 runs failed."


async def test_answers_are_compared_even_on_a_full_disk(history, record, rogue, monkeypatch):
    engine = rogue("steady", max_tokens=3)
    runs = await recorded_runs(history, f"e{await record([engine], ['One?', 'Two?'])}")

    def full(*arguments, **more):
        raise StoreError("The disk is full.")

    monkeypatch.setattr(Store, "save_run", full)
    monkeypatch.setattr("paragone_workbench.experiments.identity._save", full)
    replay = await repeat(history, runs)
    assert "2 of 2 answers are the same" in replay.verdict
    assert str(replay.unsaved) == "The disk is full."


async def test_a_stopped_replay_compares_the_repeated_runs(history, record, rogue):
    number = await record([rogue("steady", max_tokens=2)], ["One?", "Two?", "Three?"])
    able, _ = replayable(await recorded_runs(history, f"e{number}"))
    registry = Registry()
    engines = await engines_to_replay(able, load(None), registry, history, settings=["max_tokens=3"])
    replay = Replay(engines, registry, history)
    async for _ in replay.runs():
        await replay.stop()
    await replay.close()
    (report,) = replay.engines
    assert [result.id for result in replay.results] == [able[0].id]
    assert changed(report)["max_tokens"] == ("2", "3")
    assert replay.to_json("x", {})["left"] == replay.left == 2
    assert replay.verdict.startswith(
        "Stopped: 1 of 3 runs were repeated, 2 not. 0 answers are the same, 1 different. "
        "steady: these changes may be the reason ("
    )


async def test_runs_get_the_recorded_number_of_threads_up_to_the_number_of_cores(
    history, record, rogue, monkeypatch
):
    """The engine answers with its number of threads."""
    monkeypatch.setattr("paragone.threads.physical_cores", lambda: 4)
    number = await record([rogue("threads", max_tokens=1)], ["One?"])
    (run,) = await recorded_runs(history, f"e{number}")

    def of(threads):
        loaded = dataclasses.replace(run.result.loaded, facts={"threads": str(threads)})
        return with_result(
            run,
            id=f"r{threads}",
            text=f"{threads} ",
            settings=dataclasses.replace(run.result.settings, threads=threads),
            manifest={**run.result.manifest, "loaded": to_json(loaded)},
        )

    (same,), (report,) = await replayed(history, [of(3)])
    assert (same.same, "threads" in changed(report)) == (True, False)
    replay = await repeat(history, [of(8)])
    (other,), (report,) = replay.results, replay.engines
    assert other.difference.now == "4 "
    effect = "It changes the speed, and can change rounding."
    assert Change(what="threads", before="8", now="4", effect=effect) in report.changes
    assert "these changes may be the reason (threads)" in replay.verdict


async def test_an_unexplained_difference_is_reported_as_not_reproducible(history, run):
    """The engine answers with its number of threads, which a schedule changes, but no option."""
    run = with_result(run, text="word0 other ")
    replay = await repeat(history, [run])
    results, (report,) = replay.results, replay.engines
    assert (results[0].difference.char, results[0].difference.before) == (6, "other ")
    assert results[0].difference.now == "word1 word2 "
    assert "the seed of 1 recorded runs is unknown" in replay.verdict
    report.unknown_seeds = 0
    assert "does not promise the same answer" in replay.verdict
    report.promises = True
    assert "does not reproduce its own answers" in replay.verdict


async def test_only_whole_answers_with_a_manifest_are_repeated(history, record, rogue):
    number = await record([rogue("steady", max_tokens=2)], ["One?", "Two?", "Three?"])
    first, second, third = await recorded_runs(history, f"e{number}")
    first = with_result(first, state="failed", error="It broke.")
    second = with_result(second, manifest={})
    able, reasons = replayable([first, second, third])
    assert able == [third]
    assert "failed" in reasons[first.id]
    assert "no manifest" in reasons[second.id]
    with pytest.raises(InputError, match=f"The run {second.id} cannot be repeated: it has no manifest"):
        replayable([second])
    with pytest.raises(InputError, match="There are no runs"):
        replayable([])


async def test_a_missing_backend_and_wrong_options_are_refused(history, run):
    foreign = with_engine(run, backend="gone")
    with pytest.raises(InputError, match="there is no backend 'gone'"):
        await replayed(history, [foreign])
    (result,), (report,) = await replayed(history, [foreign], replacements=("steady=rogue:wide",))
    assert not result.same
    assert changed(report)["model"] == ("steady", "wide")
    with pytest.raises(InputError, match="No recorded run used an engine 'other'"):
        await replayed(history, [run], replacements=("other=rogue:wide",))
    with pytest.raises(InputError, match="names no replacement"):
        await replayed(history, [run], replacements=("steady",))
    with pytest.raises(InputError, match="no option 'nonsense'"):
        await replayed(history, [run], settings=("nonsense=1",))


async def test_a_document_needs_consent_to_contact_servers_or_start_programs(
    history, record, rogue, tmp_path
):
    number = await record([rogue("steady", max_tokens=3)], ["One?"])
    path = await write_document(history, f"e{number}", tmp_path / "document.json")
    (run,) = read_document(path)

    async def refused(**fields):
        changed_run = with_engine(run, **fields)
        with pytest.raises(InputError) as caught:
            await replayed(history, [changed_run], consent=consent_to(path))
        return str(caught.value)

    assert "starts the interpreter /tmp/evil" in await refused(python="/tmp/evil")
    server = {"backend": "ollama", "options": {}}
    assert "contacts http://evil.example:80" in await refused(**server, address="http://evil.example:80")
    assert "contacts" in await refused(**server, model="m"), "the server on this machine, too"
    assert "--trust" in await refused(python="/tmp/evil")


async def test_the_options_of_a_document_add_no_addresses_to_an_engine_of_the_user(
    history, record, rogue, model, tmp_path
):
    number = await record([rogue("steady", max_tokens=3)], ["One?"])
    path = await write_document(history, f"e{number}", tmp_path / "document.json")
    (run,) = read_document(path)
    theirs = EngineDefinition(
        name="smol", backend="llama_cpp", model="gone.gguf", options={"rpc_servers": ["evil.example:50052"]}
    )

    async def planned(**choices):
        choices = {"consent": consent_to(path), **choices}
        theirs_run, own = with_result(run, definition=theirs), [f"smol=llama_cpp:{model}"]
        (engine,) = await engines_to_replay(
            [theirs_run], load(None), Registry(), history, replacements=own, **choices
        )
        return engine.definition.options["rpc_servers"]

    with pytest.raises(InputError, match=r"smol contacts evil\.example:50052"):
        await planned()
    assert await planned(settings=("rpc_servers=127.0.0.1:9",)) == ["127.0.0.1:9"]
    assert await planned(consent=consent_to(path, trusted=True)) == ["evil.example:50052"]


async def test_a_document_needs_consent_to_read_files(history, tmp_path, run):
    """Neither by the options of an engine nor by those of a run: a grammar in a file, a template that prints one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def refused(sampling=None, settings=(), **options):
        theirs = EngineDefinition(name="smol", backend="llama_cpp", model="m", options=options)
        request = {**run.result.manifest, "request": {"sampling": sampling or {}}}
        choices = {"consent": consent_to(tmp_path / "d" / "document.json"), "settings": settings}
        foreign = with_result(run, definition=theirs, manifest={**request, "weights": []})
        with pytest.raises(InputError) as caught:
            await engines_to_replay([foreign], load(None), Registry(), history, **choices)
        return caught.value.message

    assert "the engine smol reads /etc/passwd" in await refused(chat_template="@/etc/passwd")
    assert "reads /dev/zero" in await refused(grammar="@/dev/zero")
    assert f"reads {pipe}" in await refused(lora=str(pipe))
    assert "reads /etc/passwd" in await refused({"json_schema": "@/etc/passwd"})
    message = await refused({"grammar": "@/dev/zero"}, ("chat_template=@/mine",), lora="/l.gguf")
    assert "reads /l.gguf; the engine smol reads /dev/zero" in message
    assert "/mine" not in message, "the user named this file"


async def test_a_document_cannot_choose_which_keys_are_sent(history, tmp_path, run):
    engine = EngineDefinition(
        name="steady",
        backend="openai",
        model="m",
        options={
            "url": "http://127.0.0.1:9/v1",
            "key_command": f"touch {tmp_path}/owned",
            "key_env": "AWS_SECRET_ACCESS_KEY",
            "headers": ["X: $HOME"],
            "client_key": "/etc/key.pem",
        },
    )
    consent = consent_to(tmp_path / "document.json", trusted=True)
    (planned,) = await engines_to_replay(
        [with_result(run, definition=engine)], load(None), Registry(), history, consent=consent
    )
    assert planned.definition.options == {"url": "http://127.0.0.1:9/v1"}


async def test_the_key_of_a_configured_engine_is_used_only_for_the_same_server(history, home, run):
    path = home / "config.toml"
    path.write_text(
        '[engines.box]\nbackend = "openai"\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\nkey_command = "pass show box"\n'
    )

    async def options(url):
        engine = EngineDefinition(name="box", backend="openai", model="m", options={"url": url})
        (planned,) = await engines_to_replay(
            [with_result(run, definition=engine)], load(path), Registry(), history
        )
        return planned.definition.options

    assert (await options("http://127.0.0.1:9/v1"))["key_command"] == "pass show box"
    assert "key_command" not in await options("http://127.0.0.1:10/v1")


async def test_documents_contain_no_secrets(history, tmp_path, monkeypatch):
    monkeypatch.setenv("BOX", "s3cret-key")
    engine = EngineDefinition(
        name="box",
        backend="openai",
        model="m",
        options={"url": "http://me:s3cret@127.0.0.1:9/v1", "key_command": "echo s3cret"},
    )
    kept = without_secrets(engine, Registry().get("openai"))
    store_id = await run_experiment(history, [kept], ["One?"])  # nobody answers at this port
    text = (await write_document(history, f"e{store_id}", tmp_path / "document.json")).read_text()
    assert "s3cret" not in text
    assert json.loads(text)["engines"] == [to_json(kept)]
