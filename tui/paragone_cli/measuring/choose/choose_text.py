"""Prints the decision between engines."""

from __future__ import annotations

from collections.abc import Sequence

from paragone.wording import size_text
from paragone_cli.command_line.output import put, put_line, put_table
from paragone_workbench.choosing.choice import Choice
from paragone_workbench.choosing.decision import Decision
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.statistics.estimate import number


def put_decision(decision: Decision, figures: Sequence[EngineFigures], choice: Choice) -> None:
    """Print the decision: the sentences, a row for each engine, and what was not measured."""
    put_line(decision.headline)
    for sentence in decision.reasons:
        put_line(sentence)
    if decision.others:
        put()
        put("Smaller or faster, and not chosen:")
        for sentence in decision.others:
            put_line(f"  {sentence}")
    put()
    put_table(
        [
            ["", "engine", "size", "pass %", f"KLD from {decision.reference}", "tokens/s", "TTFT (ms)"],
            *(_row(engine, decision) for engine in figures),
        ]
    )
    if choice.missing:
        put()
        put("Not measured:")
        for sentence in choice.missing:
            put_line(f"  {sentence}")
    if choice.experiment is not None:
        number_ = choice.experiment.number
        put(f"\nSee more: paragone suite compare e{number_} · paragone report e{number_} --to report.html")


def _row(engine: EngineFigures, decision: Decision) -> list[str]:
    kld = "reference" if engine.engine == decision.reference else ""
    return [
        "▸" if engine.engine == decision.chosen else "",
        engine.engine,
        "" if engine.size is None else size_text(engine.size),
        "" if engine.pass_rate is None else PASS_RATE.shown(engine.pass_rate),
        kld or ("" if engine.kld is None else number(engine.kld)),
        "" if engine.decode_tps is None else f"{engine.decode_tps:.1f}",
        "" if engine.ttft_s is None else f"{engine.ttft_s * 1000:.0f}",
    ]
