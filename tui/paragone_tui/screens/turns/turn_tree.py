"""The tree of a lane's turns with all branches: the user picks the turn to go to."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker
from paragone_workbench.lanes.branches import TreeTurn, tree
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.variants import other_author
from paragone_workbench.runs.run import Run


class TurnTree(Picker[Run | None]):
    """Shows the turns of a lane. The dialog's result is the run of the turn to go to, or None."""

    DEFAULT_CSS = "TurnTree OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"
    heading = "Turns and branches: ● is shown, ○ is on another branch"
    placeholder = "Find a prompt or an answer"
    key_hints = (("enter", "go to the turn"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._lane = lane
        self._turns = {turn.run.id: turn for turn in tree(lane)}

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the turns whose prompt or answer contains the text."""
        wanted = text.casefold()
        return [
            Option(self._line(turn), id=run_id)
            for run_id, turn in self._turns.items()
            if wanted in f"{_prompt(turn)} {turn.run.text}".casefold()
        ]

    def pick(self, option_id: str) -> None:
        """Close the tree with the turn's run."""
        self.dismiss(self._turns[option_id].run)

    def on_mount(self) -> None:
        """List the turns, and highlight the last turn of the lane's path."""
        super().on_mount()
        shown = [at for at, turn in enumerate(self._turns.values()) if turn.is_shown]
        self.options.highlighted = shown[-1] if shown else 0

    def _line(self, turn: TreeTurn) -> Content:
        indent = "  " * turn.branches
        place = f"{turn.variant}/{turn.variants} " if turn.variants > 1 else ""
        author = other_author(self._lane, turn.run)
        return Content.assemble(
            f"{indent}{'●' if turn.is_shown else '○'} ",
            (place, "dim"),
            (one_line(_prompt(turn)), "bold" if turn.is_shown else ""),
            (f"  {one_line(turn.run.text.strip())[:80]}", "dim"),
            (f"  {one_line(author)}" if author else "", "dim"),
        )


def _prompt(turn: TreeTurn) -> str:
    return turn.run.prompt.text.strip() if turn.run.prompt is not None else ""
