"""Blind votes on the saved answers of an experiment."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from paragone_tui.program import Program
from paragone_tui.screens.vote.vote_screen import VoteScreen, verdict_of
from paragone_workbench.experiments.voting.ballots import Ballot
from paragone_workbench.experiments.voting.experiment_ballots import ExperimentBallots
from paragone_workbench.store import History
from paragone_workbench.store.experiment_records import VoteChoice
from paragone_workbench.store.retry import retrying

_VOTING = (
    ("t", "tie"),
    ("x", "both bad"),
    ("s", "skip"),
    ("u", "undo"),
    ("q", "quit"),
    ("?", "help"),
    ("r", "last names"),
    ("j k", "scroll"),
)
"""Key hints for a ballot, shown after the letters, with the most important keys first."""


class ExperimentVote(VoteScreen[None]):
    """Shows one pair of answers after another to vote on. A key shows the engines' names, but only of the last vote."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+c", "leave", "Quit voting"),
        ("r", "reveal", "Names of the last vote"),
    ]

    def __init__(self, history: History, experiment_id: int, *, program: Program, markdown: bool) -> None:
        super().__init__(program, markdown=markdown)
        self._history = history
        self._experiment_id = experiment_id
        self._ballots: ExperimentBallots | None = None
        self._last: tuple[Ballot, VoteChoice] | None = None
        """The ballot and the choice of the last vote."""
        self._waiting: Ballot | None = None
        """The ballot to return to while the names of the last vote are shown."""
        self._known: set[tuple[frozenset[str], int | None]] = set()
        """The ballots whose names were shown, by engines and prompt: another vote on such a ballot is not blind."""

    def on_mount(self) -> None:
        """Show the first ballot."""
        self.do(self._begin)

    async def _begin(self) -> None:
        await self.add_columns(2)
        self._ballots = await retrying(
            self._history, lambda store: ExperimentBallots(store, self._experiment_id)
        )
        await self._next()

    async def _next(self) -> None:
        ballots = self._ballots
        assert ballots is not None
        ballot = await retrying(self._history, lambda _: ballots.take())
        if self.is_gone:
            return
        if ballot is None:
            self._show_end(ballots)
        else:
            self._show(ballot)

    def _show(self, ballot: Ballot) -> None:
        self.answers.display = True
        self.show_prompt(ballot)
        for column, run in zip(self.columns, ballot.answers, strict=True):
            column.show_text(run.text)
        self._show_progress()
        self.show_hints([(self.letters, "better"), *_VOTING])

    def _show_end(self, ballots: ExperimentBallots) -> None:
        self.ballot = None
        self._show_progress()
        skipped = ballots.total - ballots.voted
        left = f" Skipped: {skipped:,}; the same command shows them again." if skipped else ""
        self.prompt.update(
            f"There is no other ballot.{left} `paragone ratings` rates the engines by your votes."
            if ballots.total
            else "There is nothing to vote on: no prompt has two different answers."
        )
        self.answers.display = False
        self.show_hints([("u", "undo"), ("r", "last names"), ("?", "help"), ("q", "quit")])

    def _show_progress(self) -> None:
        ballots = self._ballots
        assert ballots is not None
        same = f" · left out, identical answers: {ballots.identical:,}" if ballots.identical else ""
        name = f"e{ballots.experiment.number} {ballots.experiment.name}"
        self.about.update(f"Blind vote · {name} · {ballots.voted:,}/{ballots.total:,}{same}")

    # Voting

    def refusal(self, choice: VoteChoice) -> str:
        """Refuse a second vote on a ballot."""
        return "You have voted on this; enter goes on, u takes the vote back." if self.revealed else ""

    async def cast(self, ballot: Ballot, choice: VoteChoice) -> None:
        """Save the vote, and show the next ballot."""
        ballots = self._ballots
        assert ballots is not None
        blind = _key(ballot) not in self._known
        is_first = await retrying(self._history, lambda _: ballots.vote(ballot, choice, blind=blind))
        if is_first:
            self._last = ballot, choice
        await self._next()
        if self.is_gone:
            return
        if not is_first:
            self.say("Not counted: another program has voted on this ballot meanwhile.")
            return
        self.say(f"Saved: {verdict_of(choice)}.{'' if blind else ' Not blind, since the names were known.'}")

    def action_skip(self) -> None:
        """Show the next ballot, without a vote on the present ballot."""
        if self.revealed:
            self.action_go_on()
        elif self.ballot is not None:
            self.do(self._skip)

    async def _skip(self) -> None:
        await self._next()
        if not self.is_gone:
            self.say("Skipped.")

    def action_undo(self) -> None:
        """Take the last vote back, and show its ballot again."""
        if self._ballots is not None:
            self.do(self._undo)

    async def _undo(self) -> None:
        ballots = self._ballots
        assert ballots is not None
        current = self._waiting if self.revealed else self.ballot
        ballot = await retrying(self._history, lambda _: ballots.undo(current))
        if self.is_gone:
            return
        if ballot is None:
            self.say("There is no vote to take back.")
            return
        self._last = self._waiting = None
        self._show(ballot)
        self.say("The vote is taken back.")

    def action_reveal(self) -> None:
        """Show the names and the full answers of the last vote, or return from there to the present ballot."""
        if self.revealed:
            self.action_go_on()
        elif self._last is None:
            self.say("There is no last vote whose names could be shown.")
        else:
            ballot, choice = self._last
            self._waiting = self.ballot
            self._known.add(_key(ballot))
            self.answers.display = True
            self.show_prompt(ballot)
            self.show_names(choice)
            self.say(f"Your last vote: {verdict_of(choice)}.")
            self.show_hints(
                [("enter", "go on"), ("u", "take the vote back"), ("j k", "scroll"), ("q", "quit")]
            )

    def action_go_on(self) -> None:
        """Return from the last vote, whose names are shown, to the present ballot."""
        if not self.revealed or self._ballots is None:
            return
        self.revealed = False
        self.say("")
        if self._waiting is None:
            self._show_end(self._ballots)
        else:
            self._show(self._waiting)

    def action_leave(self) -> None:
        """Quit voting. All votes are saved."""
        self.dismiss(None)


def _key(ballot: Ballot) -> tuple[frozenset[str], int | None]:
    return frozenset(run.result.definition.name for run in ballot.answers), ballot.prompt_index
