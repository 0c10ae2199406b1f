"""Batches: runs as requests for another machine, and their results. A test double stands for the batch service."""

import dataclasses
import json

import pytest
from tests.workbench.history_file import open_history
from tests.workbench.suites import Suites, engine, suite

from paragone import InputError, Message
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.batches import batch_import
from paragone_workbench.experiments.batches.batch_import import BatchImport
from paragone_workbench.experiments.batches.custom_ids import CustomId, parse_custom_id
from paragone_workbench.experiments.batches.export import batch_paths, write_batch
from paragone_workbench.experiments.batches.requests import batch_engine
from paragone_workbench.experiments.batches.results import BatchLineError, read_result
from paragone_workbench.experiments.suites.assertions import load_assertions
from paragone_workbench.experiments.suites.suite import AssertionSpec, Suite, SuitePrompt
from paragone_workbench.store import RunKey

SERVER = dataclasses.replace(engine("a"), backend="scripted_server")
CHECKED = suite("x", "y fail", "z", assertions=[AssertionSpec(type="contains", options={"value": "X"})])
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}


@pytest.fixture
async def suites():
    history = await open_history()
    yield Suites(history)
    await history.close()


@pytest.fixture
def files(tmp_path):
    return tmp_path / "batch.jsonl", tmp_path / "results.jsonl"


def remote(**options) -> EngineDefinition:
    address = options.pop("address", "http://double.test:1/v1")
    return EngineDefinition(name="big", backend="openai", model="org/big", address=address, options=options)


def success(custom_id, text, **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"model": "served", "created": 1_700_000_000, "choices": [choice], "usage": USAGE, **more}
    response = {"status_code": 200, "request_id": "q", "body": body}
    return {"id": "b", "custom_id": custom_id, "response": response, "error": None}


def failure(custom_id, message="out of luck"):
    """A failed request as vLLM writes it."""
    response = {"status_code": 400, "request_id": "q", "body": None}
    return {"id": "b", "custom_id": custom_id, "response": response, "error": {"error": {"message": message}}}


def service(request):
    """A test double of a batch service: it answers as the scripted engine does."""
    assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
    prompt = request["body"]["messages"][-1]["content"]
    if "fail" in prompt:
        return failure(request["custom_id"])
    return success(request["custom_id"], prompt.upper())


def requests(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, *results):
    path.write_text("".join(it if isinstance(it, str) else json.dumps(it) + "\n" for it in results))


async def export(suites, path, index=0, **more):
    found = batch_engine(suites.experiment, index, suites.registry)
    return await write_batch(suites.history, found, path, **more)


async def imported(suites, *paths):
    """Import files; return the import and the lines that it leaves out, as `LINE: SENTENCE`."""
    batch = BatchImport(suites.history, suites.experiment, suites.registry, load_assertions())
    problems = [problem for path in paths async for problem in batch.read(path) if problem is not None]
    return batch, [f"{problem.line}: {problem.sentence}" for problem in problems]


def compared(runs):
    """What a batch has in common with runs of this machine."""
    return [
        (
            it.key,
            it.result.state,
            it.result.finish,
            it.result.text,
            it.result.definition,
            it.result.request["sampling"],
            it.result.request["messages_sha256"],
            it.checks,
        )
        for it in runs
    ]


async def test_a_batch_gives_the_same_as_running_the_suite(suites, files):
    await suites.run(CHECKED, SERVER, repetitions=2)
    expected = compared(await suites.saved())
    await suites.begin(CHECKED, SERVER, repetitions=2, fresh=True)
    assert (await export(suites, files[0])).requests == 6
    write(files[1], *reversed([service(it) for it in requests(files[0])]))
    batch, told = await imported(suites, files[1])
    assert (batch.answers, batch.errors, batch.known, batch.refused, told) == (4, 2, 0, 0, [])
    saved = await suites.saved()
    assert compared(saved) == expected
    assert saved[2].result.error == "The request failed in the batch (HTTP 400): out of luck."
    for run in saved:
        assert run.result.ended is None
        if run.result.metrics is not None:
            assert (run.result.metrics.ttft_s, run.result.metrics.decode_tps) == (None, None)
    metrics = saved[0].result.metrics
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.completion_tokens) == (7, 4, 2)
    assert saved[0].result.started == 1_700_000_000
    assert saved[0].result.loaded.name == "served"

    again, told = await imported(suites, files[1])
    assert (again.answers, again.errors, again.known, told) == (0, 0, 6, [])
    assert await suites.saved() == saved
    assert await suites.run(CHECKED, SERVER, repetitions=2) == [], "the runner finds nothing to do"
    assert (await export(suites, files[0])).requests == 0


async def test_an_answer_takes_the_place_of_an_error_and_never_of_an_answer(suites, files):
    await suites.begin(suite("x", "fail"), SERVER)
    await export(suites, files[0])
    first = [service(it) for it in requests(files[0])]
    write(files[1], *first)
    await imported(suites, files[1])
    assert (await export(suites, files[0], retry_failed=True)).requests == 1
    (retried,) = requests(files[0])
    other = success(first[0]["custom_id"], "another answer")
    write(files[1], success(retried["custom_id"], "at last"), other, *first)
    batch, told = await imported(suites, files[1])
    runs = await suites.saved()
    assert [it.result.text for it in runs] == ["X", "at last"]
    kept = f"e{suites.experiment.number}/{runs[0].number}"
    assert told == [f"2: The request has another result already, {kept}, which is kept."]
    assert (batch.answers, batch.known, batch.refused) == (1, 2, 1)


async def test_wrong_lines_are_told_and_the_others_imported(suites, files, monkeypatch):
    await suites.begin(suite("x"), SERVER)
    other = suites.experiment
    await suites.begin(suite("x", "y"), SERVER)
    await export(suites, files[0])
    good = [service(it) for it in requests(files[0])]
    place = parse_custom_id(good[0]["custom_id"])

    def at(experiment=place.experiment, **key):
        return success(str(CustomId(experiment, place.key._replace(**key))), "X")

    monkeypatch.setattr(batch_import, "LONGEST_LINE", 2000)
    cases = [
        ("nothing\n", "This is not valid JSON: Expecting value, at character 1."),
        ("[1]\n", "This is not a result of a batch: there is no custom_id."),
        ("x" * 9000 + "\n", "The line is longer than 2 kB."),
        (success("request-1", "X"), "The custom_id 'request-1' was not written by `paragone suite export`."),
        (at(other.id), f"The result belongs to e{other.number}, another experiment."),
        (at("0" * 8 + place.experiment[8:]), "The result belongs to an experiment that the history does not have."),
        (at(prompt_index=2), f"e{suites.experiment.number} has no prompt #2."),
        (at(engine_index=1), f"e{suites.experiment.number} has no engine with the number 1."),
        (at(repetition=1), f"e{suites.experiment.number} has no repetition 1."),
        (good[0] | {"response": None}, "The result has neither a response nor an error."),
        (
            good[0] | {"response": {"status_code": 200, "body": {"choices": []}}},
            "The response has no answer in choices[0].message.",
        ),
    ]  # fmt: skip
    write(files[1], good[0], "\n", *(line for line, _ in cases), good[1], json.dumps(good[1])[:-9])
    batch, told = await imported(suites, files[1])
    *listed, cut = told
    assert listed == [f"{number}: {sentence}" for number, (_, sentence) in enumerate(cases, start=3)]
    assert cut.startswith(f"{len(cases) + 4}: This is not valid JSON")
    assert (batch.answers, batch.refused) == (2, len(cases) + 1)
    assert [it.result.text for it in await suites.saved()] == ["X", "Y"]
    with pytest.raises(InputError, match="cannot be read: No such file"):
        await imported(suites, files[1].with_name("missing"))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        await imported(suites, files[1].parent)


async def test_judges_are_left_to_the_runner(suites, files):
    judged = AssertionSpec(type="judge", options={"engine": "judge", "criterion": "good"})
    made, judge = suite("x", assertions=[judged]), engine("judge")
    await suites.begin(made, SERVER, judges=[judge])
    await export(suites, files[0])
    write(files[1], *map(service, requests(files[0])))
    batch, _ = await imported(suites, files[1])
    assert batch.to_judge == 1
    assert (await suites.saved())[0].checks == ()
    await suites.run(made, SERVER, judges=[judge])
    assert len((await suites.saved())[0].checks) == 1


async def test_the_body_of_a_request(suites, files):
    schema = '{"type": "object"}'
    big = remote(
        temperature=0.5, top_p=0.9, max_tokens=40, stop=["END"], presence_penalty=1, frequency_penalty=0, seed=3,
        json_schema=schema, thinking="low", key_env="KEY",
    )  # fmt: skip
    messages = (Message(role="system", text="Brief."), Message(role="user", text="Ünder"))
    made = Suite(name="s", prompts=(SuitePrompt(index=4, line=1, messages=messages),))
    await suites.begin(made, big, remote(top_k=5, thinking=False, stop=[]))
    assert await export(suites, files[0])
    (line,) = requests(files[0])
    assert line == {
        "custom_id": f"{suites.experiment.id}-0-4-0",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "org/big",
            "messages": [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Ünder"}],
            "temperature": 0.5, "top_p": 0.9, "max_tokens": 40, "stop": ["END"], "presence_penalty": 1,
            "frequency_penalty": 0, "seed": 3, "reasoning_effort": "low",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
            },
        },
    }  # fmt: skip
    assert batch_engine(suites.experiment, 0, suites.registry).left_out == ()
    await export(suites, files[0], 1)
    assert requests(files[0])[0]["body"].keys() == {"model", "messages", "seed"}
    assert batch_engine(suites.experiment, 1, suites.registry).left_out == ("top_k", "thinking")
    write(files[1], success(requests(files[0])[0]["custom_id"], "yes"))
    await imported(suites, files[1])
    (run,) = await suites.saved()
    assert [it.sentence for it in run.result.cautions] == [
        "A batch has no field for top_k, so it was left out.",
        "A batch has no field for thinking, so it was left out.",
    ]


async def test_openai_has_another_name_for_max_tokens(suites):
    await suites.begin(suite("x"), remote(max_tokens=9, address="https://api.openai.com/v1"))
    found = batch_engine(suites.experiment, 0, suites.registry)
    assert (found.fields, found.sampling) == ({"max_completion_tokens": 9}, {"max_tokens": 9})


async def test_a_model_of_this_machine_is_refused(suites):
    await suites.begin(suite("x"), engine("a"))
    with pytest.raises(InputError, match="The engine a loads its model on this machine"):
        batch_engine(suites.experiment, 0, Registry())


def test_a_custom_id_has_at_most_64_characters():
    longest = CustomId("01a220da-79e2-7788-bb1c-d3ee22da5099", RunKey(9_999_999, 99, 999))
    assert len(str(longest)) <= 64
    assert parse_custom_id(str(longest)) == longest


def test_several_engines_have_a_file_each(tmp_path):
    path = tmp_path / "batch.jsonl"
    assert batch_paths(path, ["a/b"]) == [path]
    names = [it.name for it in batch_paths(path, ["a/b", "a b", "c"])]
    assert names == ["batch.a-b.jsonl", "batch.a-b-2.jsonl", "batch.c.jsonl"]


@pytest.mark.parametrize(
    ("message", "text", "thinking"),
    [
        ({"content": "<think>hm</think>\n\nyes"}, "yes", "hm"),
        ({"content": "yes", "reasoning_content": "hm"}, "yes", "hm"),
        ({"content": "yes", "reasoning": "hm"}, "yes", "hm"),
        ({"content": None, "refusal": "I cannot."}, "I cannot.", ""),
        ({"content": "\ud800"}, "\ud800", ""),
    ],
)
def test_the_parts_of_an_answer(message, text, thinking):
    line = success("i", "", choices=[{"message": message, "finish_reason": "length"}])
    found = read_result(json.dumps(line).encode())
    assert (found.text, found.thinking, found.finish) == (text, thinking, "length")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (failure("i", "too\nlong."), "The request failed in the batch (HTTP 400): too long."),
        ({"custom_id": "i", "response": None, "error": {"code": "batch_expired", "message": "Late."}},
         "The request failed in the batch: Late."),
        ({"custom_id": "i", "response": {"status_code": 429, "body": {"error": {"message": "Slow down."}}}},
         "The request failed in the batch (HTTP 429): Slow down."),
        ({"custom_id": "i", "response": {"status_code": 400, "body": None}, "error": "boom"},
         "The request failed in the batch (HTTP 400): boom."),
        ({"custom_id": "i", "response": {"status_code": 500}},
         "The request failed in the batch (HTTP 500): the result does not say why."),
        ({"custom_id": "i", "error": {"message": "Incorrect API key provided: sk-verysecret12 at https://u:p@h/?k=v."}},
         "The request failed in the batch: Incorrect API key provided: ••• at https://h/."),
    ],
)  # fmt: skip
def test_the_forms_of_errors(line, error):
    assert read_result(json.dumps(line).encode()).error == error


def test_an_answer_of_another_type_is_no_result():
    line = success("i", "", choices=[{"message": {"content": 7}}])
    with pytest.raises(BatchLineError, match="not a text"):
        read_result(json.dumps(line).encode())
