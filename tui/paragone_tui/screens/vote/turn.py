"""A blind turn of a conversation: the lanes' answers to a prompt come unnamed, until the user has voted."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.binding import BindingType
from textual.timer import Timer

from paragone_tui.painting.cadence import BEAT
from paragone_tui.screens.vote.screen import VoteScreen, verdict_of
from paragone_workbench.compare.votes import Choice
from paragone_workbench.experiments.ballots import Ballot
from paragone_workbench.experiments.blind_answers import BlindAnswers
from paragone_workbench.experiments.conversation_votes import save_vote
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store import History

__all__ = ["BlindTurn"]


class BlindTurn(VoteScreen[bool]):
    """Shows the answers of lanes while they are written. Its result is whether the next prompt is blind, too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("ctrl+c", "stop", "Stop the answers"),
        ("escape", "leave", "Quit voting"),
    ]

    def __init__(self, history: History, session: Session, ballot: Ballot) -> None:
        super().__init__(len(ballot.answers))
        self._history = history
        self._session = session
        self._on_ballot = ballot
        self._answers = BlindAnswers(ballot.answers, ballot.mask)
        self._ended: set[int] = set()
        """The answers that were marked as complete."""
        self._timer: Timer | None = None
        self._vote_id: int | None = None

    def on_mount(self) -> None:
        """Show the prompt, and follow the answers."""
        self.show_prompt(self._on_ballot)
        self.about.update("Blind vote")
        self._show_keys()
        self.say("The answers appear once all have begun.")
        self._timer = self.set_interval(BEAT, self._advance)

    def on_unmount(self) -> None:
        """Stop following the answers."""
        self._answers.close()

    def _advance(self) -> None:
        """Show what may be shown by now."""
        had_begun = self._answers.have_begun
        for number, text in enumerate(self._answers.take(time.monotonic())):
            self.columns[number].transcript.write(text)
            if self._answers.is_complete(number) and number not in self._ended:
                self._ended.add(number)
                self._end(number)
        if self._answers.are_complete:
            if self._timer is not None:
                self._timer.stop()
            self.say(self.refusal("tie") or "Which answer is better?")
        elif self._answers.have_begun and not had_begun:
            self.say("Read on; you can vote once all answers are complete.")

    def _end(self, number: int) -> None:
        column, run = self.columns[number], self._on_ballot.answers[number]
        if run.state == "failed":
            column.transcript.end()
            column.fail()
        else:
            column.end(is_empty=not run.text.strip())

    def _show_keys(self) -> None:
        if self.revealed:
            hints = [("enter", "next prompt, blind"), ("q", "end blind voting"), ("u", "take the vote back")]
        else:
            hints = [(self.letters, "better"), ("t", "tie"), ("x", "all bad"), ("s", "skip")]
            hints += [("enter", "show all"), ("^c", "stop"), ("j k", "scroll"), ("?", "help"), ("q", "quit")]
        self.show_hints(hints)

    # Voting

    def refusal(self, choice: Choice) -> str:
        """Refuse a vote before all answers are complete, and a second one."""
        if self._vote_id is not None:
            return "You have voted; u takes the vote back."
        if not self._answers.are_complete:
            return "You can vote once all answers are complete."
        return super().refusal(choice)

    async def cast(self, ballot: Ballot, choice: Choice) -> None:
        """Save the vote, and show which engine is which."""
        self._vote_id = await save_vote(self._history, self._session, ballot, choice, blind=not self.revealed)
        self.show_names(choice)
        self.say(f"Saved: {verdict_of(choice)}.")
        self._show_keys()

    def name_of(self, run: RunRecord) -> str:
        """Return the name of the answer's lane."""
        lanes = self._session.lanes
        return next((lane.name for lane in lanes if run in lane.record.runs), run.definition.name)

    def action_skip(self) -> None:
        """Return to the lanes without a vote; the next prompt is blind, too."""
        self.dismiss(True)

    def action_leave(self) -> None:
        """Return to the lanes, and end blind voting."""
        self.dismiss(False)

    def action_go_on(self) -> None:
        """After the vote, return to the lanes for the next prompt; before, show all that has come."""
        if self.revealed:
            self.dismiss(True)
        elif self._answers.show_all():
            self._advance()
        else:
            self.say("Not all answers have ended yet.")

    def action_undo(self) -> None:
        """Take the vote back. Another one counts as not blind, since the names are known."""
        if self._vote_id is None:
            self.say("There is no vote to take back.")
        else:
            self.do(self._undo)

    async def _undo(self) -> None:
        vote_id = self._vote_id
        if vote_id is not None:
            await self._history.call(lambda store: store.votes.delete(vote_id))
            self._vote_id = None
            self.show_names(None)
            self.say("The vote is taken back. If you vote again, it counts as not blind.")

    def action_stop(self) -> None:
        """Stop the answers; if they have ended, quit voting."""
        if self._answers.have_ended:
            self.action_leave()
        else:
            self.do(self._session.stop)
