"""The prompts and run settings that the real Ollama reports, compared with what it does."""

import pytest
import pytest_asyncio

from paragone import Caution, Message, OpenRequest, RunRequest, RunSettings
from paragone_remote.backend import OllamaBackend

from .conftest import made

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

    async def open_it(model="smollm2"):
        options = {"url": ollama_server, "num_ctx": 1024, "num_thread": 1}
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


async def test_the_reported_prompt_is_the_one_that_ollama_reads(opened, vocab):
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
        assert (settings.prompt_ids, settings.answered_by) == (None, "smollm2")
        assert events[-1].usage.prompt_tokens == len(vocab.tokenize(settings.prompt))


LEFT_OPEN = {
    "model": "left-open",
    "from": "smollm2",
    "template": "{{- range $i, $_ := .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}"
    '{{ if lt (len (slice $.Messages $i)) 2 }}{{ if ne .Role "assistant" }}<|im_end|>\n<|im_start|>assistant\n{{ end }}'
    "{{ else }}<|im_end|>\n{{ end }}{{ end }}",
    "stream": False,
}
"""A template that leaves the assistant's last message open. The usual one closes the message."""


@pytest.fixture
def left_open(ollama_server):
    with made(ollama_server, LEFT_OPEN) as name:
        yield name


async def test_an_answer_is_continued_with_any_template(opened, left_open, vocab):
    begun = "One, two, three,"
    turns = Message(role="user", text="Count to ten in words."), Message(role="assistant", text=begun)
    for model in ("smollm2", left_open):
        engine = await opened(model)
        events, settings = await run(engine, turns, max_tokens=1)
        assert events[-1].usage.prompt_tokens == len(vocab.tokenize(settings.prompt))
        assert settings.prompt.endswith(f"<|im_start|>assistant\n{begun}")
        assert not [event for event in events if isinstance(event, Caution)]


async def test_the_modelfiles_parameters_are_active(brief, opened, text):
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
    highest = 2**32 - 2
    events, settings = await run(engine, STORY, max_tokens=3, seed=highest)
    assert (settings.sampling["max_tokens"], settings.seed) == (3, highest)
    assert events[-1].usage.completion_tokens == 3
    # asking for the prompt loads nothing anew, with other options
    assert not [event for event in (*again, *once_more, *events) if isinstance(event, Caution)]
