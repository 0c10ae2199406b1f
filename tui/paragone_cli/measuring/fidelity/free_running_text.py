"""Greedy answers as text: a table, and sentences for each candidate."""

from __future__ import annotations

from collections.abc import Callable

from paragone.wording import counted
from paragone_cli.command_line.formats import short_name
from paragone_cli.command_line.output import put, put_line, put_table
from paragone_workbench.compare.agreement.agreement import Agreement, Conduct
from paragone_workbench.compare.agreement.summary import AnswerSummary
from paragone_workbench.compare.agreement.verdict import verdict
from paragone_workbench.measure.free_running import FreeRunning


def put_answers(summary: AnswerSummary, answers: FreeRunning) -> None:
    """Print the length and the faults of greedy answers, and how far these answers agree with the reference's answers."""
    partial = ", partial" if answers.partial else ""
    put(f"\nGreedy answers to {counted(len(answers.prompts), 'prompt')}{partial}\n")
    put_table(_table(summary))
    put()
    for sentence in (*answers.cautions, *map(verdict, summary.agreements)):
        if sentence:
            put_line(sentence)


def _table(summary: AnswerSummary) -> list[list[str]]:
    def of_engines(title: str, show: Callable[[Conduct], str]) -> list[str]:
        return [title, *map(show, summary.conducts)]

    def of_candidates(title: str, show: Callable[[Agreement], str]) -> list[str]:
        return [title, "", *map(show, summary.agreements)]

    return [
        of_engines("", lambda found: short_name(found.engine)),
        of_engines("answers", lambda found: f"{found.answers:,}"),
        of_candidates("the same answer", lambda found: f"{found.identical:,} of {found.prompts:,}"),
        of_candidates("same before the fork", _fork),
        of_engines("length (median)", lambda found: _tokens(found.median_tokens)),
        of_candidates("length, times", lambda found: _ratio(found.length_ratio)),
        of_engines("cut at the limit", lambda found: f"{found.cut:,}"),
        of_engines("loops", lambda found: f"{found.loops:,}"),
        of_engines("empty", lambda found: f"{found.empty:,}"),
    ]


def _fork(found: Agreement) -> str:
    quartiles = found.fork_quartiles
    return "" if quartiles is None else f"{quartiles[1]:.0f} {found.unit}s"


def _tokens(count: float | None) -> str:
    return "" if count is None else f"{count:,.0f} tokens"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
