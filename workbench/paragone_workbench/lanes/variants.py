"""The variants of a lane's turns, and the texts of turns that users copy and search."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from paragone.texts import counted
from paragone_workbench.lanes.reopening import is_found_in
from paragone_workbench.lanes.settings import changes
from paragone_workbench.store.records import Hit, any_word_pattern, snippet_of

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


def neighbour(lane: Lane, offset: int, shown: Run | None = None) -> Run | None:
    """Return the end of the path through the next (1) or previous (-1) variant of the run `shown`; None without
    variants. After the last variant comes the first. By default, `shown` is the last run that has variants."""
    places = reversed(lane.path) if shown is None else (shown,)
    place = next((run for run in places if len(lane.variants(run)) > 1), None)
    if place is None:
        return None
    variants = lane.variants(place)
    return newest_after(lane, variants[(variants.index(place) + offset) % len(variants)])


def variant_origin(lane: Lane, run: Run, *, in_full: bool = True) -> str:
    """Return `by small (llama_cpp)` for the answer of another engine, `with temperature=0.8` for other settings. If
    not `in_full`, the settings become `with other settings`. Empty if nothing differs."""
    author, present = run.result.definition, lane.engine.definition
    if author == present:
        return ""
    if not author.is_called_like(present):
        return f"by {author.name} ({author.backend})"
    if not author.has_model_of(present):
        return f"by {author.name} with {author.model}"
    settings = changes(present, author, lane.engine.backend)
    if not settings:
        return ""
    return f"with {settings}" if in_full else "with other settings"


def prompt_to_answer_again(lane: Lane, prompts: Iterable[Prompt]) -> Prompt | None:
    """Return the newest prompt for all lanes that follows the lane's path and has no run there; else the path's last prompt."""
    head = lane.record.head.prompt if lane.record.head is not None else None
    asked = {run.prompt for run in lane.record.all_runs}
    later = [
        prompt
        for prompt in prompts
        if prompt.for_all and prompt not in asked and (head is None or head in prompt.with_ancestors())
    ]
    return later[-1] if later else head


def newest_after(lane: Lane, run: Run) -> Run:
    """Return the end of the path through a run and the newest runs that continue it."""
    while later := lane.following(run):
        run = later[-1]
    return run


def tree(lane: Lane) -> Iterator[tuple[Run, int]]:
    """Yield all turns of a lane, each with the number of earlier turns on its path that have variants. Each turn is
    followed by the turns that continue it, oldest first."""
    known = set(lane.record.all_runs)
    first = [run for run in lane.record.all_runs if run.continues not in known]
    waiting = [(run, 0) for run in reversed(first)]
    while waiting:
        run, branches = waiting.pop()
        yield run, branches
        deeper = branches + (len(lane.variants(run)) > 1)
        waiting += [(later, deeper) for later in reversed(lane.following(run))]


Copy: TypeAlias = tuple[str, str, str]
"""A text for the user to copy: its kind (`python code`, `the answer` …), the text, and its first line or its length."""


def copies(lanes: Sequence[Lane], run: Run) -> Iterator[Copy]:
    """Yield the texts that can be copied from a turn of these lanes, and from all turns. `run` is the selected answer."""
    for language, code in code_blocks(run.text):
        first = next((line.strip() for line in code.splitlines() if line.strip()), "")
        lines = counted(code.count("\n") + 1, "line")
        yield f"{language} code".strip(), code, f"{lines}: {first}"
    answer = run.text.strip("\r\n")
    if answer:
        yield "the answer", answer, counted(len(answer), "character")
    if run.prompt is not None:
        answers = sum(lane.answer(run.prompt) is not None for lane in lanes)
        yield "the turn", turn_text(lanes, run.prompt), f"the prompt and {counted(answers, 'answer')}"
    whole = conversation_text(lanes)
    yield "the conversation", whole, counted(len(whole), "character")


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
    """Return the run with this id, else the newest run of the prompt, with its lane. Runs on a path are preferred."""
    found = [
        (lane, run)
        for lane in lanes
        for run in (*lane.path, *reversed(lane.record.all_runs))
        if is_found_in(run, prompt_id, run_id)
    ]
    return next((place for place in found if place[1] in place[0].path), found[0] if found else None)


def find_in_lanes(lanes: Sequence[Lane], text: str, limit: int = 200) -> list[Hit]:
    """Return the prompts and answers of the lanes, variants included, that have all words of a text, newest first."""
    words = text.split()
    if not words:
        return []
    wanted = [re.compile(re.escape(word), re.IGNORECASE) for word in words]
    any_word = any_word_pattern(words)
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
