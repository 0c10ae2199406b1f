"""The real llama-server with various settings: a key, slots, slow loading, other templates."""

import asyncio
import mmap
import os
import shutil

import pytest

from paragone import Message, Token
from paragone_remote.backend import OpenAIBackend

from .conftest import cautions

pytestmark = pytest.mark.model

THINKING = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' -}}
{%- if message.reasoning_content -%}{{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' -}}{%- endif -%}
{{- message.content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}
{%- if enable_thinking is false -%}{{- '<think>\n\n</think>\n\n' -}}{%- else -%}{{- '<think>\n' -}}{%- endif -%}
{%- endif -%}
"""
"""A template of the kind that models have which think: it opens their thinking for them, unless there is to be none."""


def without_template(model, copy):
    """Write a copy of a model that has no chat template."""
    shutil.copyfile(model, copy)
    with copy.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        begin = mapped.find(b"tokenizer.chat_template")
        mapped[begin : begin + 23] = b"tokenizer.chat_other___"


class Gate:
    """Keeps a llama-server loading: it reads a file of n-grams last, which is a pipe that nobody writes to yet."""

    def __init__(self, path):
        os.mkfifo(path)
        self._path = path
        self.options = ("--spec-type", "ngram-cache", "--lookup-cache-static", str(path))

    def open(self):
        """Let the server, which waits at the pipe, read an empty file."""
        with self._path.open("wb"):
            pass


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path / "ngrams")


async def test_opening_waits_while_the_server_loads(run_llama_server, gate, open_smollm2, text, monkeypatch):
    refusals, sleep = asyncio.Event(), asyncio.sleep

    async def pause(seconds):
        refusals.set()
        await sleep(seconds)

    monkeypatch.setattr("paragone_remote.openai_opening.asyncio.sleep", pause)
    with run_llama_server("-c", "256", *gate.options, status=503) as url:
        report = await OpenAIBackend().endpoint({"url": url})
        assert report.probe.reason == f"The server at {url} is still loading its model (503)."
        opening = asyncio.create_task(open_smollm2(url))
        await refusals.wait()
        assert not opening.done()
        await asyncio.to_thread(gate.open)
        events, error = await (await opening).ask("Say hello.", max_tokens=3)
        assert error is None
        assert text(events)


async def test_a_restarted_server_is_used_and_another_model_is_noticed(
    run_llama_server, gate, open_smollm2, text, whole_smollm2
):
    with run_llama_server("-c", "256") as url:
        lane = await open_smollm2(url)
        first, _ = await lane.ask("Say hello.", max_tokens=6, temperature=0)
    _, error = await lane.ask("Say hello.")
    assert error.message == f"Nothing answers at {url}: the connection was refused."
    port = int(url.rpartition(":")[2])
    with run_llama_server("-c", "256", *gate.options, port=port, status=503):
        events = []
        opener = None
        async for event in lane.run("Say hello.", max_tokens=6, temperature=0):
            events.append(event)
            if opener is None:
                opener = asyncio.create_task(asyncio.to_thread(gate.open))
        await opener
    assert text(events) == text(first)
    assert cautions(events) == {
        "retried": f"The server at {url} is still loading its model (503). The request is repeated."
    }
    with run_llama_server("-c", "256", port=port, model=whole_smollm2):
        events, error = await lane.ask("Say hello.", max_tokens=1)
    assert error is None
    assert f" and is {whole_smollm2}" in cautions(events)["server-changed"]


async def test_thinking_is_reported_in_its_own_channel(run_llama_server, open_smollm2, text, tmp_path):
    """Six tokens of thinking, after which the server ends it for the model."""
    template = tmp_path / "template.jinja"
    template.write_text(THINKING)
    options = ("--jinja", "--chat-template-file", str(template))
    with run_llama_server("-c", "256", "-np", "1", *options) as url:
        lane = await open_smollm2(url)
        events, error = await lane.ask("Say hello.", thinking=6, max_tokens=20, temperature=0, logprobs=1)
        assert error is None
        thought, answer = text(events, "thinking"), text(events)
        assert thought.strip()
        assert answer.strip()
        assert "think>" not in thought + answer
        assert cautions(events) == {}
        tokens = [event for event in events if isinstance(event, Token) and event.text]
        channels = [token.channel for token in tokens]
        assert channels == sorted(channels, reverse=True), "an answer before the thinking's end"
        assert all(token.text == token.top[0].text for token in tokens if token.text.strip())
        none, _ = await lane.ask("Say hello.", thinking=False, max_tokens=8, temperature=0)
        assert (text(none, "thinking"), bool(text(none))) == ("", True)
        turns = [
            Message(role="user", text="Say hello."),
            Message(role="assistant", text=answer, thinking=thought),
            Message(role="user", text="Again."),
        ]
        with_it, _ = await lane.ask(turns, max_tokens=1)
        turns[1] = Message(role="assistant", text=answer)
        without, _ = await lane.ask(turns, max_tokens=1)
        assert with_it[-1].usage.prompt_tokens > without[-1].usage.prompt_tokens


async def test_a_base_model_continues_plain_text(run_llama_server, smollm2, open_smollm2, tmp_path):
    """It takes ChatML for its template without a word, which the lane says."""
    base = tmp_path / "base.gguf"
    without_template(smollm2, base)
    with run_llama_server("-c", "256", "-np", "1", model=base) as url:
        (caution,) = (await open_smollm2(url)).engine.loaded.cautions
        assert caution.code == "assumed-chat-template"
        assert "raw = true" in caution.sentence
        lane = await open_smollm2(url, raw=True)
        assert [caution.code for caution in lane.engine.loaded.cautions] == ["no-chat-template"]
        events, error = await lane.ask("One, two, three, four,", max_tokens=1)
        assert (error, events[-1].usage.completion_tokens) == (None, 1)
