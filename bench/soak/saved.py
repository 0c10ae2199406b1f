"""Checks that nothing was lost: compares the history after the soak with what the server and the person sent."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.soak.numbered_server import request_of, tokens_in
from bench.soak.server_process import SentAnswer

KEPT_S = 0.5
"""Seconds. Text that arrived at least this long before a kill must be in the history."""


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A run in the history."""

    engine: str
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Saved:
    """The content of a history."""

    runs: Sequence[SavedRun]
    prompts: Mapping[str, int]
    """How often each prompt is in the history, in a conversation or in its queue."""
    cells: Mapping[str, Sequence[str]]
    """The states of the runs of each experiment, by its name."""
    damage: str
    """SQLite's description of damage in the file; empty if the file is sound."""

    @classmethod
    def read(cls, path: Path) -> Saved:
        """Read a history. Before that, runs of killed programs are marked as interrupted, as at the next start."""
        from paragone_workbench.store import Store

        Store.open(path).close()
        with contextlib.closing(sqlite3.connect(path)) as file:
            runs = [SavedRun(*row) for row in file.execute("SELECT engine, state, text FROM run")]
            prompts = dict(
                file.execute(
                    "SELECT text, count(*) FROM (SELECT text FROM prompt UNION ALL"
                    " SELECT text FROM queued WHERE prompt_id IS NULL) GROUP BY text"
                )
            )
            cells: dict[str, list[str]] = defaultdict(list)
            for name, state in file.execute(
                "SELECT e.name, r.state FROM cell c JOIN experiment e ON e.id = c.experiment_id"
                " JOIN run r ON r.id = c.run_id"
            ):
                cells[name].append(state)
            checked = "\n".join(row[0] for row in file.execute("PRAGMA integrity_check"))
        return cls(runs, prompts, cells, "" if checked == "ok" else checked)


@dataclass
class Answers:
    """The answers that the numbered server has sent, and the answers in the history."""

    sent: Mapping[str, SentAnswer]
    runs: Sequence[SavedRun]
    rate: float
    """Tokens a second of each answer."""
    unfinished: int = 0
    """Number of interrupted answers in suites. A suite does not save such an answer, and sends the prompt again."""
    most_lost_s: float = 0.0
    """The longest text that an interrupted answer lacks at its end, in seconds of streaming."""
    tokens: int = 0
    """Number of tokens that were sent."""
    missing: int = 0
    """Number of tokens that were sent and are not in the history."""

    def wrong(self, slow_s: Callable[[float], float]) -> Iterator[str]:
        """Describe each answer that was lost, doubled or changed.

        `slow_s` returns the seconds by which a busy machine delayed programs around a time.
        """
        found: dict[str, list[SavedRun]] = defaultdict(list)
        for run in self.runs:
            if request := request_of(run.text):
                found[request].append(run)
        for request, answer in self.sent.items():
            runs = found.pop(request, [])
            if not answer.times or answer.asked.startswith("serve"):  # `paragone serve` saves no answers
                continue
            if not runs and answer.asked.startswith("suite"):
                self.unfinished += 1
                continue
            if len(runs) > 1:
                yield f"the answer to request {request} is in the history {len(runs)} times"
            yield from self._wrong_in(request, answer, runs[0] if runs else None, slow_s)
        for request in found:
            yield f"the history has an answer to request {request}, which the server has not received"

    def _wrong_in(
        self, request: str, answer: SentAnswer, run: SavedRun | None, slow_s: Callable[[float], float]
    ) -> Iterator[str]:
        kept = tokens_in(run.text, request) if run else 0
        if kept is None:
            yield f"the text of the answer to request {request} is not what the server sent"
            return
        self.tokens += len(answer.times)
        self.missing += len(answer.times) - kept
        if run is not None and run.state == "done" and answer.end == "end" and kept < len(answer.times):
            yield f"the finished answer to request {request} has {kept} of {len(answer.times)} tokens"
        if kept >= len(answer.times):
            return
        # The record does not have the time at which a program was killed. The kill came before the next token.
        end = min(answer.ended or answer.times[-1], answer.times[-1] + 1 / self.rate)
        lost_s = end - answer.times[kept]
        self.most_lost_s = max(self.most_lost_s, lost_s)
        if lost_s > KEPT_S + slow_s(end):
            yield (
                f"the answer to request {request} lacks tokens from {kept} on, which came {lost_s:.2f} s before it "
                f"was interrupted ({run.state if run else 'no run in the history'})"
            )


def wrong_in_history(saved: Saved, prompts: Iterable[str], suites: Mapping[str, int]) -> Iterator[str]:
    """Describe what is wrong with prompts, cells and the file. `suites` has the number of runs of each finished suite."""
    if saved.damage:
        yield f"the history is damaged: {saved.damage}"
    for prompt in prompts:
        if (times := saved.prompts.get(prompt, 0)) != 1:
            yield f"the prompt {prompt!r} is in the history {times} times"
    for name, runs in suites.items():
        if (states := Counter(saved.cells.get(name, ()))) != {"done": runs}:
            yield f"{name} has not {runs} finished runs but {json.dumps(states)}"
    if running := sum(run.state == "running" for run in saved.runs):
        yield f"{running} runs are still marked as running after all programs ended"
