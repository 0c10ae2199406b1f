"""The decision between engines as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from paragone.wording import size_text
from paragone_tui.terminal.text import one_line, visible
from paragone_workbench.choosing.figures import notes_of, pass_rate_text, speed_text, users_text
from paragone_workbench.choosing.throughput import MOST_USERS
from paragone_workbench.reporting.public_text import BriefNames
from paragone_workbench.statistics.estimate import number

if TYPE_CHECKING:
    from paragone_workbench.choosing.choice import Choice
    from paragone_workbench.choosing.decision import Decision
    from paragone_workbench.choosing.figures import EngineFigures


def decision_text(decision: Decision, figures: Sequence[EngineFigures], choice: Choice) -> RenderableType:
    """Return the decision: its sentences, a table with a row for each engine, and the missing measurements."""
    brief = BriefNames([engine.engine for engine in figures])
    parts: list[RenderableType] = [Text(visible(brief.within(decision.headline)), style="bold")]
    parts += [Text(visible(brief.within(sentence))) for sentence in decision.reasons]
    if len(figures) > 1:
        parts += [Text(), _table(decision, figures), *map(Text, notes_of(figures))]
    parts += _list("Smaller or faster, and not chosen", map(brief.within, decision.others))
    parts += _list("Left out", choice.left_out)
    parts += _list("Not measured", map(brief.within, choice.missing()))
    return Group(*parts)


def _list(title: str, sentences: Iterable[str]) -> Iterator[Text]:
    sentences = list(sentences)
    if sentences:
        yield Text()
        yield Text(title, style="bold")
    for sentence in sentences:
        yield Text(visible(sentence))


def _table(decision: Decision, figures: Sequence[EngineFigures]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("")
    table.add_column("engine", overflow="ellipsis")
    users = [f"{MOST_USERS} users"] if any(engine.users_tps for engine in figures) else []
    for title in ("memory", "pass %", "KLD", "tokens/s", *users):
        table.add_column(title, justify="right", no_wrap=True)
    for engine in figures:
        kld = "reference" if engine.engine == decision.reference else ""
        size = engine.memory or engine.size
        table.add_row(
            "▸" if engine.engine == decision.chosen else "",
            Text(visible(one_line(engine.engine))),
            "" if size is None else size_text(size),
            pass_rate_text(engine, decision.planned),
            kld or ("" if engine.kld is None else number(engine.kld)),
            speed_text(engine),
            *([users_text(engine)] if users else []),
        )
    return table
