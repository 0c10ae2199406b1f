"""The texts of a conversation that can be copied, and words and saved runs found in lanes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone.texts import counted
from paragone_workbench.lanes.reopening import is_found_in
from paragone_workbench.store.records import Hit, any_of, snippet_of

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    name: str
    """The kind of the text for the user: `python code`, `the answer` …"""
    text: str
    detail: str
    """The first line of the text, or its length."""


def copies(lanes: Sequence[Lane], run: Run) -> Iterator[Copy]:
    """Yield the texts that can be copied from a turn of these lanes, and from all turns. `run` is the selected answer."""
    for language, code in code_blocks(run.text):
        first = next((line.strip() for line in code.splitlines() if line.strip()), "")
        lines = counted(code.count("\n") + 1, "line")
        yield Copy(name=f"{language} code".strip(), text=code, detail=f"{lines}: {first}")
    answer = run.text.strip("\r\n")
    if answer:
        yield Copy(name="the answer", text=answer, detail=counted(len(answer), "character"))
    if run.prompt is not None:
        answers = sum(lane.answer(run.prompt) is not None for lane in lanes)
        detail = f"the prompt and {counted(answers, 'answer')}"
        yield Copy(name="the turn", text=turn_text(lanes, run.prompt), detail=detail)
    whole = conversation_text(lanes)
    yield Copy(name="the conversation", text=whole, detail=counted(len(whole), "character"))


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return the language and the code of each block of code in a Markdown text; the language may be empty."""
    from markdown_it import MarkdownIt  # only needed to copy

    blocks = [
        token for token in MarkdownIt("commonmark").parse(text) if token.type in ("fence", "code_block")
    ]
    return [(" ".join(block.info.split()[:1]), block.content.removesuffix("\n")) for block in blocks]


def turn_text(lanes: Sequence[Lane], prompt: Prompt) -> str:
    """Return a prompt as a quotation and its answers in Markdown. With several lanes, each answer is below its lane's name."""
    parts = ["\n".join(f"> {line}".rstrip() for line in prompt.written_with_names.splitlines())]
    for lane in lanes:
        run = lane.answer(prompt)
        if run is not None and run.text.strip():
            name = f"**{lane.name}**\n\n" if len(lanes) > 1 else ""
            parts.append(name + run.text.strip("\r\n"))
    return "\n\n".join(parts) + "\n"


def conversation_text(lanes: Sequence[Lane]) -> str:
    """Return the turns on the paths of the lanes as Markdown, in the order in which their prompts were sent."""
    prompts = {run.prompt for lane in lanes for run in lane.path if run.prompt is not None}
    return "\n".join(
        turn_text(lanes, prompt) for prompt in sorted(prompts, key=lambda prompt: prompt.created)
    )


def find_run(lanes: Sequence[Lane], prompt_id: str, run_id: str | None = None) -> tuple[Lane, Run] | None:
    """Return the run with this id, or else the newest of the prompt, with its lane; runs on a path are preferred."""
    found = [
        (lane, run)
        for lane in lanes
        for run in (*lane.path, *reversed(lane.record.all_runs))
        if is_found_in(run, prompt_id, run_id)
    ]
    return next((place for place in found if place[1] in place[0].path), found[0] if found else None)


def find_in_lanes(lanes: Sequence[Lane], text: str, limit: int = 200) -> list[Hit]:
    """Return the prompts and answers of the lanes, also variants, that have all words of a text, newest first."""
    words = text.split()
    if not words:
        return []
    wanted = [re.compile(re.escape(word), re.IGNORECASE) for word in words]
    any_word = any_of(words)
    found = [
        _hit(run, found, is_prompt=is_prompt, words=any_word)
        for run, found, is_prompt in _texts(lanes)
        if all(word.search(found) for word in wanted)
    ]
    found.sort(key=lambda hit: hit.time, reverse=True)
    return found[:limit]


def _texts(lanes: Sequence[Lane]) -> Iterator[tuple[Run, str, bool]]:
    prompts: set[str] = set()
    for lane in lanes:
        for run in lane.record.all_runs:
            if run.prompt is not None and run.prompt.id not in prompts:
                prompts.add(run.prompt.id)
                yield run, run.prompt.text, True
            yield run, run.text, False


def _hit(run: Run, text: str, *, is_prompt: bool, words: re.Pattern[str]) -> Hit:
    prompt = run.prompt
    snippet, marks = snippet_of(text, words)
    return Hit(
        id="",
        conversation=None,
        title="",
        prompt_id=None if prompt is None else prompt.id,
        run_id=None if is_prompt else run.id,
        engine="" if is_prompt else run.result.definition.name,
        snippet=snippet,
        marks=marks,
        time=prompt.created if is_prompt and prompt is not None else run.result.started,
    )
