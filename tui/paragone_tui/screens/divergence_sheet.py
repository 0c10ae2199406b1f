"""The view of the place where answers part: what each engine could have chosen, and how sure it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType

from paragone import Token
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import bar, one_line, visible
from paragone_tui.widgets.sheet import Sheet
from paragone_workbench.compare.confidence import alternatives, confidence, quoted
from paragone_workbench.compare.divergence import Divergence, place_of, token_at
from paragone_workbench.runs.run import Run

_BEFORE = 160
"""Characters of the text before the place that are shown."""
_BAR = 30
"""Cells of the bar of a probability of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A lane's answer beside the others."""

    name: str
    run: Run
    parting: Divergence | None
    """Where it parts from the reference; None for the reference itself."""


class DivergenceSheet(Sheet):
    """Shows the alternatives of each lane at the place where a lane parts from the reference."""

    BINDINGS: ClassVar[list[BindingType]] = [closing_binding("divergence")]

    def __init__(self, reference: Side, candidate: Side, others: Sequence[Side]) -> None:
        """Create the view of the place where `candidate` parts from `reference`."""
        super().__init__()
        assert candidate.parting is not None
        self._parting = candidate.parting
        self._sides = [reference, candidate, *others]
        self.heading = one_line(f"Where {candidate.name} parts from {reference.name}")

    def parts(self) -> Iterator[Text]:
        """Yield the text."""
        yield Text("\n").join(self._lines())

    def _lines(self) -> Iterator[Text]:
        reference = self._sides[0]
        text = _before(reference.run, self._parting)
        yield Text(visible(text), style="dim") if text else Text("From the start.", style="dim")
        if self._parting.token is None:
            yield Text()
            yield Text(
                "The tokens cannot be compared: they were not kept, or the vocabularies are not known to be "
                "the same. This is the first character that differs."
            )
        for side in self._sides:
            yield Text()
            yield Text(one_line(side.name), style="bold")
            yield from self._side(side)

    def _side(self, side: Side) -> Iterator[Text]:
        run, here = side.run, self._parting
        earlier = side.parting is not None and _is_before(side.parting, here)
        if earlier:
            yield Text("This answer diverged earlier, so its probabilities here belong to a different text.")
            return
        if not run.result.keeps_tokens:
            yield Text("The tokens of this answer were not kept. Answer again to see them.")
            yield Text(f"It goes on with {quoted(visible(run.text[here.char or 0 :][:40]))}.")
            return
        index = here.token if here.token is not None else token_at(run.result.tokens, here.char or 0)
        if index >= len(run.result.tokens):
            yield Text(
                "It ended its answer here."
                if run.result.finish == "stop"
                else "It was cut before this place."
            )
            return
        token = run.result.tokens[index]
        yield Text(visible(confidence(token)))
        yield from _table(token)


def _table(token: Token) -> Iterator[Text]:
    rows = [(visible(quoted(other.text)), exp(other.logprob)) for other in alternatives(token)]
    chosen = visible(quoted(token.text))
    width = max((Text(text).cell_len for text, _ in rows), default=0)
    for text, probability in rows:
        row = Text(f"{'→' if text == chosen else ' '} ")
        row.append(text + " " * (width - Text(text).cell_len), style="bold" if text == chosen else "")
        row.append(f"  {probability:6.1%}  ")
        row.append(bar(probability, _BAR))
        yield row


def _before(run: Run, parting: Divergence) -> str:
    """Return the text before the place, in the channel of the place."""
    place = place_of(run.result.tokens, parting.token) if parting.token is not None else None
    text = run.thinking if place is not None and place.channel == "thinking" else run.text
    end = place.start if place is not None else (parting.char if parting.char is not None else len(text))
    return ("…" if end > _BEFORE else "") + text[max(0, end - _BEFORE) : end]


def _is_before(one: Divergence, other: Divergence) -> bool:
    if one.token is not None and other.token is not None:
        return one.token < other.token
    return one.char is not None and other.char is not None and one.char < other.char
