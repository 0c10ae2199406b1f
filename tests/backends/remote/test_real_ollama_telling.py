"""The prompts and run settings that the real Ollama reports, compared with what it does."""

import pytest
import pytest_asyncio

from paragone import Caution, Message, OpenRequest, RunRequest, RunSettings
from paragone_remote.ollama_api.backend import OllamaBackend

from .conftest import bare_client, made

pytestmark = pytest.mark.model

STORY = (Message(role="user", text="Write a very long story, with many chapters."),)

BRIEF = {
    "model": "brief",
    "from": "smollm2",
    "system": "You are brief.",
    "parameters": {
        "temperature": 0.25,
        "top_k": 7,
        "num_predict": 5,
        "seed": 42,
        "stop": ["<|im_end|>", 'a "quoted" é'],
    },
    "stream": False,
}
"""A model with parameters and a system prompt of its own."""


@pytest.fixture
def brief(ollama_server):
    with made(ollama_server, BRIEF) as name:
        yield name


@pytest_asyncio.fixture
async def opened(ollama_server):
    engines = []

    async def open_it(model="smollm2", url=ollama_server):
        options = {"url": url, "num_ctx": 1024, "num_thread": 1}
        opening = OpenRequest(model=model, options=options)
        engines.append(await OllamaBackend().open(opening, lambda progress: None))
        return engines[-1]

    yield open_it
    for engine in engines:
        await engine.close()


async def run(engine, messages, **sampling):
    request = RunRequest(messages=messages, sampling=sampling, prompt_ids=True)
    events = [event async for event in engine.run(request)]
    (settings,) = [event for event in events if isinstance(event, RunSettings)]
    return events, settings


async def test_the_prompt_is_the_one_that_it_reads(opened, vocab):
    turns = (
        Message(role="system", text="You are brief."),
        Message(role="user", text="What is one and one?"),
        Message(role="assistant", text="Two."),
        Message(role="user", text="Grüße, 你好 {{ 1 }}"),
    )
    engine = await opened()
    for messages in (turns, turns[1:], STORY):
        events, settings = await run(engine, messages, max_tokens=1)
        assert settings.prompt.count("<|im_start|>") == len(messages) + 1
        assert settings.prompt_ids is None
        assert events[-1].usage.prompt_tokens == len(vocab.tokenize(settings.prompt))


LEFT_OPEN = {
    "model": "left-open",
    "from": "whole",
    "template": "{{- range $i, $_ := .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}"
    '{{ if lt (len (slice $.Messages $i)) 2 }}{{ if ne .Role "assistant" }}<|im_end|>\n<|im_start|>assistant\n{{ end }}'
    "{{ else }}<|im_end|>\n{{ end }}{{ end }}",
    "stream": False,
}
"""The whole SmolLM2 with a template that leaves the assistant's last message open. The usual one closes the message."""


@pytest.fixture
def left_open(whole_ollama):
    with made(whole_ollama, LEFT_OPEN) as name:
        yield name


async def test_an_answer_goes_on_whatever_the_template_does(opened, whole_ollama, left_open, text):
    begun = "One, two, three,"
    turns = Message(role="user", text="Count to ten in words."), Message(role="assistant", text=begun)
    for model in ("whole", left_open):
        engine = await opened(model, whole_ollama)
        events, settings = await run(engine, turns, max_tokens=4, temperature=0)
        assert text(events).startswith(" four")
        assert settings.prompt.endswith(f"<|im_start|>assistant\n{begun}")
        assert not [event for event in events if isinstance(event, Caution)]


async def test_the_highest_seed_is_taken(opened, text):
    engine = await opened()
    runs = [await run(engine, STORY, max_tokens=8, temperature=2, seed=2**32 - 2) for _ in range(3)]
    assert text(runs[1][0]) == text(runs[2][0])


async def test_the_modelfile_is_in_force(brief, opened, text):
    engine = await opened(brief)
    events, settings = await run(engine, STORY)
    assert settings.sampling == {
        "temperature": 0.25,
        "top_k": 7,
        "max_tokens": 5,
        "seed": 42,
        "stop": ["<|im_end|>", 'a "quoted" é'],
    }
    assert settings.seed == 42
    assert settings.prompt.startswith("<|im_start|>system\nYou are brief.<|im_end|>\n")
    assert (events[-1].reason, events[-1].usage.completion_tokens) == ("length", 5)
    again, _ = await run(engine, STORY)
    once_more, _ = await run(engine, STORY)
    assert text(once_more) == text(again)
    events, settings = await run(engine, STORY, max_tokens=3, seed=7)
    assert (settings.sampling["max_tokens"], settings.seed) == (3, 7)
    assert events[-1].usage.completion_tokens == 3


async def test_asking_for_the_prompt_loads_nothing_anew(ollama_server, opened):
    engine = await opened()
    codes = []
    for _ in range(2):
        events, _ = await run(engine, STORY, max_tokens=2)
        codes += [event.code for event in events if hasattr(event, "code")]
    assert codes == []  # a model that was loaded again is told of
    with bare_client(ollama_server) as bare:
        running = bare.get("/api/ps").json()["models"]
    lengths = [model["context_length"] for model in running if model["name"].startswith("smollm2")]
    assert lengths == [1024]
