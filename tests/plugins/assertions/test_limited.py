"""What may compute forever: regular expressions and schemas, in processes with a limit."""

import asyncio
import json

import psutil
import pytest

from paragone import InputError
from paragone.assertions import NoVerdict
from paragone_assertions.limited import SECONDS
from paragone_assertions.texts import Regex

HOPELESS = {"job": "search", "pattern": "(a+)+$", "text": "a" * 40 + "!"}
"""Takes years."""
QUICK = {"job": "search", "pattern": "a", "text": "a"}


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setattr("paragone_assertions.limited.SECONDS", 0.1)
    process = Regex()
    yield process
    process.close()


@pytest.fixture
def new_children():
    """A function that lists the child processes that this test started."""
    before = set(psutil.Process().children())
    return lambda: set(psutil.Process().children()) - before


@pytest.mark.parametrize(
    ("pattern", "answer", "passed"),
    [
        (r"P\w+s", "in Paris", True),
        (r"\AParis\Z", "in Paris", False),
        (r"(?i)paris", "in PARIS", True),
        (r"(?s)a.b", "a\nb", True),
        ("é", "caf\u00e9", True),
        ("b", "a\ud800b", True),
    ],
)
async def test_regex_searches_the_answer(check, pattern, answer, passed):
    assert (await check("regex", answer, pattern=pattern)).passed == passed


@pytest.mark.parametrize("pattern", ["(", "x{99999999999}", ""])
async def test_an_invalid_pattern_is_refused(check, pattern):
    with pytest.raises(InputError, match=r"not a valid regular expression|no 'pattern'"):
        await check("regex", "Paris", pattern=pattern)


async def test_a_job_that_takes_forever_is_stopped(limited):
    with pytest.raises(NoVerdict, match=r"The check took more than 0\.1 seconds of CPU time and was stopped"):
        await limited.run(HOPELESS)
    assert await limited.run(QUICK) == {"found": "a"}


async def test_concurrent_jobs_are_executed_one_after_another(limited):
    jobs = [limited.run({**QUICK, "text": f"{number}a"}) for number in range(20)]
    assert await asyncio.gather(*jobs) == [{"found": "a"}] * 20


async def test_a_process_that_was_killed_is_replaced(limited, new_children):
    await limited.run(QUICK)
    (child,) = new_children()
    child.kill()
    with pytest.raises(NoVerdict, match="ended unexpectedly, with status -9"):
        await limited.run(QUICK)
    assert await limited.run(QUICK) == {"found": "a"}


async def test_closing_does_not_wait_for_a_running_job(new_children, monkeypatch):
    monkeypatch.setattr("paragone_assertions.limited.SECONDS", 3600)
    patient = Regex()
    job = asyncio.create_task(patient.run(HOPELESS))
    while not new_children():
        await asyncio.sleep(0.01)
    await asyncio.to_thread(patient.close)
    with pytest.raises(NoVerdict, match="ended unexpectedly"):
        await job
    assert not new_children()


SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string", "maxLength": 10}}}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ('{"city": "Paris"}', ""),
        ('Here it is:\n```json\n{"city": "Paris"}\n```\nAnything else?', ""),
        ('{"city": 7}', "$.city: 7 is not of type 'string'"),
        ("{}", "'city' is a required property"),
        ("Paris", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
async def test_json_schema_validates_the_answer(check, answer, fault):
    verdict = await check("json_schema", answer, schema=SCHEMA)
    assert verdict.passed == (not fault)
    assert fault in verdict.reason


@pytest.mark.parametrize(
    ("answer", "schema", "fault"),
    [
        ('Sure! [see below] {"city": "Paris"} Bye.', SCHEMA, ""),
        ('{"city": 7} or rather {"city": "Paris"}', SCHEMA, ""),
        ('It is {"city": 7}.', SCHEMA, "$.city: 7 is not of type 'string'"),
        ("A list: [1, 2]", None, ""),
        ("{not json} 7", None, "no JSON object or list"),
        ("[" * 2_000, None, "no JSON object or list"),
    ],
)
async def test_contains_json_finds_json_anywhere(check, answer, schema, fault):
    verdict = await check("contains_json", answer, schema=schema)
    assert verdict.passed == (not fault)
    assert fault in verdict.reason


async def test_the_schema_selects_its_draft(check):
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True}
    assert not (await check("json_schema", "3", schema=draft4)).passed
    assert (await check("json_schema", "2", schema=draft4)).passed
    reference = {"$ref": "https://json-schema.org/draft/2020-12/schema"}  # known without a network
    assert not (await check("json_schema", '{"type": 3}', schema=reference)).passed


async def test_references_in_schemas_are_not_fetched(check):
    """A server on loopback would be asked."""
    asked: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: asked.append(writer), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/schema.json"
    async with server:
        with pytest.raises(NoVerdict, match="which the schema does not contain"):
            await check("json_schema", "3", schema={"$ref": address})
    assert not asked


@pytest.mark.parametrize("schema", [None, {"type": "strange"}, {"minimum": "low"}, {"pattern": "("}])
async def test_an_invalid_schema_is_refused(check, schema):
    with pytest.raises(InputError, match=r"The schema is not valid|has no 'schema'"):
        await check("json_schema", "3", schema=schema)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("schema", "answer", "reason", "seconds"),
    [
        ({"$ref": "#"}, "3", "nested too deeply", SECONDS),
        ({"pattern": "^(a+)+$"}, json.dumps("a" * 40 + "!"), "CPU time", 0.2),
    ],
    ids=["endless", "catastrophic pattern"],
)
async def test_a_schema_that_takes_forever_gives_no_verdict(
    check, monkeypatch, schema, answer, reason, seconds
):
    monkeypatch.setattr("paragone_assertions.limited.SECONDS", seconds)
    with pytest.raises(NoVerdict, match=reason):
        await check("json_schema", answer, schema=schema)


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        ("{}", True),
        ("Sure:\n\n  ```json\n{\n}\n  ```\nBye", True),
        ("```json\n{}", True),
        ("{'a': 1}", False),
        ("Sure: {}", False),
        ("[" * 100_000, False),
        ("9" * 5000, False),
    ],
)
async def test_json_accepts_valid_json_or_a_fenced_block(check, answer, passed):
    assert (await check("json", answer)).passed == passed
