"""Prints the decision between engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from paragone.wording import size_text
from paragone_cli.command_line.output import put, put_line, put_table
from paragone_cli.measurement_progress.suite_table import known_text
from paragone_workbench.choosing.choice import Choice
from paragone_workbench.choosing.decision import Decision
from paragone_workbench.choosing.figures import (
    EngineFigures,
    notes_of,
    pass_rate_text,
    speed_text,
    ttft_note,
)
from paragone_workbench.choosing.throughput import MOST_USERS
from paragone_workbench.measure.fidelity.scale import kld_text
from paragone_workbench.reporting.public_text import BriefNames


def put_decision(
    decision: Decision, figures: Sequence[EngineFigures], choice: Choice, missing: Sequence[str]
) -> None:
    """Print the decision: the sentences, a row for each engine, and the missing measurements."""
    brief = BriefNames([engine.engine for engine in figures])
    put_line(brief.within(decision.headline))
    for sentence in decision.reasons:
        put_line(brief.within(sentence))
    _put_list("Smaller or faster, and not chosen:", map(brief.within, decision.others))
    _put_list("Left out:", choice.left_out)
    if len(figures) > 1:
        with_users = any(engine.users_tps for engine in figures)
        put()
        put_table(
            [
                [
                    "",
                    "engine",
                    "memory",
                    "pass %",
                    f"KLD from {brief.of(decision.reference)}",
                    "same answers",
                    "tokens/s",
                    "TTFT (ms)",
                    *([f"{MOST_USERS} users"] if with_users else []),
                ],
                *(_row(engine, decision, with_users=with_users) for engine in figures),
            ]
        )
        for sentence in filter(None, (*notes_of(figures), ttft_note(figures))):
            put_line(sentence)
    _put_list("Not measured:", map(brief.within, missing))
    if choice.taken and choice.experiment is not None:
        put()
        put(known_text(choice.taken, choice.experiment.runs))
    if choice.experiment is not None:
        name = f"e{choice.experiment.number}"
        put(f"\nSee more: paragone suite compare {name} · paragone report {name} --to report.html")


def _put_list(title: str, sentences: Iterable[str]) -> None:
    sentences = list(sentences)
    if sentences:
        put()
        put(title)
    for sentence in sentences:
        put_line(f"  {sentence}")


def _row(engine: EngineFigures, decision: Decision, *, with_users: bool) -> list[str]:
    kld = "reference" if engine.engine == decision.reference else ""
    return [
        "▸" if engine.engine == decision.chosen else "",
        engine.engine,
        _memory(engine),
        pass_rate_text(engine, decision.planned),
        kld or ("" if engine.kld is None else kld_text(engine.kld)),
        "" if engine.same_answers is None else f"{engine.same_answers} of {engine.greedy_answers}",
        speed_text(engine),
        "" if engine.ttft_s is None else f"{engine.ttft_s * 1000:.0f}",
        *(["" if engine.users_tps is None else f"{engine.users_tps:.1f}"] if with_users else []),
    ]


def _memory(engine: EngineFigures) -> str:
    """Return the estimated memory, or else the size of the weights."""
    if engine.memory is not None:
        return size_text(engine.memory)
    return "" if engine.size is None else f"{size_text(engine.size)} (weights)"
