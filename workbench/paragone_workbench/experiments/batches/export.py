"""Writes the unfinished runs of an engine into a batch file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone_workbench.engines.definitions import numbered
from paragone_workbench.experiments.batches.requests import BatchEngine
from paragone_workbench.experiments.output_file import replacing
from paragone_workbench.experiments.running.cells import unfinished_cells
from paragone_workbench.store import History

MOST_REQUESTS = 50_000
"""Largest number of requests that OpenAI's batch API takes in a file."""

_NO_WORD = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBatch:
    """What a batch file contains. Without unfinished runs, no file was written."""

    requests: int
    """Number of requests, one on each line."""
    continued: int
    """Number of requests that end with a message of the assistant, which a batch cannot continue."""


def batch_paths(path: Path, names: Sequence[str]) -> list[Path]:
    """Return a path for each engine: `path` itself for a single engine, else `batch.ENGINE.jsonl` for `batch.jsonl`."""
    if len(names) == 1:
        return [path]
    taken: list[str] = []
    for name in names:
        word = _NO_WORD.sub("-", name)
        taken.append(next(free for free in numbered(word) if free not in taken))
    return [path.with_name(f"{path.stem}.{word}{path.suffix}") for word in taken]


async def write_batch(
    history: History,
    engine: BatchEngine,
    path: Path,
    *,
    chosen: frozenset[int] | None = None,
    retry_failed: bool = False,
) -> WrittenBatch:
    """Write an engine's unfinished runs as requests, in place of an earlier file. Without unfinished runs, write no file.

    `chosen` are the indices of the prompts to write. With `retry_failed`, failed runs count as unfinished. Raises
    StoreError, and ParagoneError if the file cannot be written.
    """
    cells = unfinished_cells(
        history, engine.experiment, [engine.index], chosen=chosen, retry_failed=retry_failed
    )
    requests = continued = 0
    async with contextlib.aclosing(cells):
        cell = await anext(cells, None)
        if cell is None:
            return WrittenBatch(requests=0, continued=0)
        with replacing(path) as file:
            while cell is not None:
                file.write(engine.line(cell))
                requests += 1
                continued += cell.prompt.messages[-1].role == "assistant"
                cell = await anext(cells, None)
    return WrittenBatch(requests=requests, continued=continued)
