"""Batches: runs as requests for another machine, and their results. A test double stands for the batch service."""

import dataclasses
import json
from collections import Counter

import pytest
from tests.workbench.suites import engine, suite

from paragone import InputError, Message
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.batches import batch_engine, read_batch, write_batch
from paragone_workbench.experiments.suite import AssertionSpec, Suite, SuitePrompt
from paragone_workbench.runs.metrics import RunMetrics

SERVER = dataclasses.replace(engine("a"), backend="scripted_server")
CHECKED = suite("x", "y fail", "z", assertions=[AssertionSpec(type="contains", options={"value": "X"})])
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}


@pytest.fixture
def files(tmp_path):
    return tmp_path / "batch.jsonl", tmp_path / "results.jsonl"


def remote(**options) -> EngineDefinition:
    address = "http://double.test:1/v1"
    return EngineDefinition(name="big", backend="openai", model="org/big", address=address, options=options)


def success(custom_id, text, **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"created": 1_700_000_000, "choices": [choice], "usage": USAGE, **more}
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


def exported(suites, index=0):
    return batch_engine(suites.experiment.engines[index], suites.registry)


async def export(suites, path, index=0, **more):
    request = dataclasses.replace(suites.runner.request, **more)
    return await write_batch(suites.history, suites.experiment, request, exported(suites, index), path)


async def imported(suites, *paths):
    """Import files; return the counts and the skipped lines, as `LINE: MESSAGE`."""
    counts: Counter[str] = Counter()
    problems = [
        f"{problem[0]}: {problem[1]}"
        for path in paths
        async for problem in read_batch(
            suites.history, suites.experiment, path, suites.registry, load_assertions(), counts
        )
        if problem is not None
    ]
    return counts, problems


def compared(runs):
    """What a batch has in common with runs of this machine."""
    results = [(run.result.state, run.result.finish, run.result.text, run.result.definition) for run in runs]
    requests = [(run.result.request["sampling"], run.result.request["messages_sha256"]) for run in runs]
    return [(run.key, run.checks) for run in runs], results, requests


async def test_a_batch_gives_the_same_results_as_running_the_suite(suites, files):
    await suites.run(CHECKED, SERVER, repetitions=2)
    expected = compared(await suites.saved())
    await suites.begin(CHECKED, SERVER, repetitions=2, fresh=True)
    assert await export(suites, files[0]) == 6
    write(files[1], *reversed([service(it) for it in requests(files[0])]))
    batch, told = await imported(suites, files[1])
    assert (batch, told) == ({"answers": 4, "errors": 2}, [])
    saved = await suites.saved()
    assert compared(saved) == expected
    assert saved[2].result.error == "The request failed in the batch (HTTP 400): out of luck."
    first = saved[0].result
    assert (first.started, first.ended, first.loaded.name) == (1_700_000_000, None, "a")
    assert first.metrics == RunMetrics(prompt_tokens=7, cached_tokens=4, completion_tokens=2)

    again, told = await imported(suites, files[1])
    assert (again, told) == ({"known": 6}, [])
    assert await suites.saved() == saved
    assert await suites.run(CHECKED, SERVER, repetitions=2) == [], "the runner finds nothing to do"
    assert await export(suites, files[0]) == 0


async def test_an_answer_replaces_an_error_but_never_an_answer(suites, files):
    await suites.begin(suite("x", "fail"), SERVER)
    await export(suites, files[0])
    first = [service(it) for it in requests(files[0])]
    write(files[1], *first)
    await imported(suites, files[1])
    assert await export(suites, files[0], retry_failed=True) == 1
    (retried,) = requests(files[0])
    other = success(first[0]["custom_id"], "another answer")
    write(files[1], success(retried["custom_id"], "at last"), other, *first)
    batch, told = await imported(suites, files[1])
    runs = await suites.saved()
    assert [it.result.text for it in runs] == ["X", "at last"]
    kept = f"e{suites.experiment.number}/{runs[0].number}"
    assert told == [f"2: The request has another result already, {kept}, which is kept."]
    assert batch == {"answers": 1, "known": 2, "refused": 1}


async def test_invalid_lines_are_reported_and_the_others_imported(suites, files):
    await suites.begin(suite("x"), SERVER)
    other = suites.experiment
    await suites.begin(suite("x", "y"), SERVER)
    await export(suites, files[0])
    good = [service(it) for it in requests(files[0])]
    own = suites.experiment.id

    def without(custom_id):
        return f"e{suites.experiment.number} has no run with the custom_id {custom_id!r}."

    no_answer = "The result has neither an error nor a text in choices[0].message."
    cases = [
        ("nothing\n", "This is not valid JSON: Expecting value, at character 1."),
        ("[1]\n", "This is not a result of a batch: there is no custom_id."),
        (success("request-1", "X"), "The custom_id 'request-1' was not written by `paragone suite export`."),
        (success(f"{other.id}-0-0-0", "X"), "The result belongs to another experiment."),
        *((success(it, "X"), without(it)) for it in (f"{own}-0-9-0", f"{own}-1-0-0", f"{own}-0-0-1")),
        (good[0] | {"response": None}, no_answer),
        (good[0] | {"response": {"status_code": 200, "body": {"choices": []}}}, no_answer),
        (success(good[0]["custom_id"], 7), no_answer),
        (success(good[0]["custom_id"], "X", model="b"), "The model 'b' answered instead of 'a'."),
    ]
    good[1]["response"]["body"]["model"] = "a-2024-08-06"
    write(files[1], good[0], "\n", *(line for line, _ in cases), good[1], json.dumps(good[1])[:-9])
    batch, told = await imported(suites, files[1])
    *listed, cut = told
    assert listed == [f"{number}: {message}" for number, (_, message) in enumerate(cases, start=3)]
    assert cut.startswith(f"{len(cases) + 4}: This is not valid JSON")
    assert batch == {"answers": 2, "refused": len(cases) + 1}
    assert [it.result.text for it in await suites.saved()] == ["X", "Y"]
    with pytest.raises(InputError, match="cannot be read: No such file"):
        await imported(suites, files[1].with_name("missing"))


async def test_the_body_of_a_request_has_the_options(suites, files):
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
    assert exported(suites).left_out == ()
    await export(suites, files[0], 1)
    assert requests(files[0])[0]["body"].keys() == {"model", "messages", "seed"}
    assert exported(suites, 1).left_out == ("top_k", "thinking")
    write(files[1], success(requests(files[0])[0]["custom_id"], "yes"))
    await imported(suites, files[1])
    (run,) = await suites.saved()
    assert [it.sentence for it in run.result.cautions] == [
        "A batch has no field for top_k, so the option was omitted.",
        "A batch has no field for thinking, so the option was omitted.",
    ]


async def test_answers_and_errors_of_several_services_are_read(suites, files):
    for message, text, thinking in (
        ({"content": "<think>hm</think>\n\nyes"}, "yes", "hm"),
        ({"content": None, "refusal": "I cannot."}, "I cannot.", ""),
        ({"content": "\ud800"}, "\ufffd", ""),
    ):
        await suites.begin(suite("x"), SERVER, fresh=True)
        choices = [{"message": message, "finish_reason": "length"}]
        write(files[1], success(f"{suites.experiment.id}-0-0-0", "", choices=choices))
        await imported(suites, files[1])
        found = (await suites.saved())[0].result
        assert (found.text, found.thinking, found.finish) == (text, thinking, "length")
    for line, error in (
        ({"response": None, "error": {"code": "batch_expired", "message": "Late."}}, "Late."),
        (
            {"error": {"message": "Incorrect API key provided: sk-verysecret12 at https://u:p@h/?k=v."}},
            "Incorrect API key provided: ••• at https://h/.",
        ),
    ):
        await suites.begin(suite("x"), SERVER, fresh=True)
        write(files[1], line | {"custom_id": f"{suites.experiment.id}-0-0-0"})
        await imported(suites, files[1])
        assert (await suites.saved())[0].result.error == f"The request failed in the batch: {error}"
