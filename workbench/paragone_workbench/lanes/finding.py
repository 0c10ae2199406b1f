"""Find words in the open conversation, and find saved runs in lanes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from paragone_workbench.lanes.reopening import is_found_in
from paragone_workbench.store.records import Hit
from paragone_workbench.store.snippet import any_of, snippet_of

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


def find_run(lanes: Sequence[Lane], prompt_id: str, run_id: str | None = None) -> tuple[Lane, Run] | None:
    """Return the run with this id, or else a run of the prompt, and the run's lane; None if no lane has such a run.

    A run on the path of a lane is preferred. Without one, the result is the newest run of the first lane with such runs.
    """
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
    """Yield each answer, and each prompt once, as a run, the text, and whether the text is the prompt's."""
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
