"""Finds words in the open conversation."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone.wording import counted
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.found import marked
from paragone_tui.widgets.picker import Picker
from paragone_workbench.lanes.finding import find_in_lanes
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.store.records import Hit


class FindScreen(Picker[Hit | None]):
    """Finds words in the open conversation. The screen's result is the prompt or the answer to go to, or None."""

    heading = "Find in this conversation"
    placeholder = "Words of prompts and answers, also of variants that are not shown"
    key_hints = (("enter", "go there"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, lanes: Sequence[Lane]) -> None:
        super().__init__()
        self._lanes = lanes
        self._hits: dict[str, Hit] = {}

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the prompts and answers that have all words of the text, newest first."""
        hits = find_in_lanes(self._lanes, text)
        self._hits = {str(number): hit for number, hit in enumerate(hits)}
        self.say(counted(len(hits), "place") if hits else "Nothing found." if text else "")
        return [
            Option(
                Content.assemble(
                    (f"{one_line(hit.engine) or 'prompt'}: ", "bold"), *marked(hit.snippet, text.split())
                ),
                id=option_id,
            )
            for option_id, hit in self._hits.items()
        ]

    def pick(self, option_id: str) -> None:
        """Close the screen with the picked prompt or answer."""
        self.dismiss(self._hits[option_id])
