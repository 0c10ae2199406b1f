"""A blind turn of a conversation: the lanes' answers to a prompt are shown without names until the user has voted."""

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.timer import Timer

from paragone_tui.program_app import ProgramApp
from paragone_tui.screens.vote import VoteScreen, verdict_of
from paragone_tui.terminal.changed_rows_screen import BEAT
from paragone_tui.widgets.fields import Confirmation
from paragone_workbench.experiments.voting import Ballot, save_vote
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run
from paragone_workbench.store import History
from paragone_workbench.store.votes import VoteChoice

_EARLY = frozenset("jkgGJKhl ?")
"""The characters that are keys while the engines write: they scroll, or show the help."""
_PAUSE_S = 1.0
"""Letters typed ahead end after this many seconds without a letter: an answer may end while the user types a prompt ahead."""


class BlindTurn(VoteScreen[bool | None]):
    """Shows the lanes' answers while the engines write. The screen's result is whether the next prompt is also blind."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("ctrl+c", "stop", "Stop the answers"),
        ("escape", "leave", "Quit voting"),
    ]

    def __init__(
        self,
        history: History,
        session: Session,
        ask: Callable[[], Ballot | None],
        *,
        program: ProgramApp,
        markdown: bool,
    ) -> None:
        """Create the screen. Once the screen covers the lanes, `ask` sends the prompt and returns its ballot, or returns
        None."""
        super().__init__(program, markdown=markdown)
        self._history = history
        self._session = session
        self._ask = ask
        self._lengths: list[int] = []
        """Number of characters that are shown of each answer. Empty before the prompt is sent."""
        self._complete: set[int] = set()
        """Indices of the answers that are shown to their end."""
        self._asked_at = inf
        """When the user was asked for a vote, on the clock of events."""
        self._ahead_until = 0.0
        """Until when letters belong to text that was typed ahead, on the same clock."""
        self._timer: Timer | None = None
        self._vote_id: str | None = None

    async def on_mount(self) -> None:
        self.about.update("Blind vote")
        ballot = self._ask()
        if ballot is None:
            self.dismiss(True)
            return
        self._lengths = [0] * len(ballot.answers)
        await self.add_columns(len(ballot.answers))
        self.show_prompt(ballot)
        self._show_keys()
        self.say("The answers appear once all have begun.")
        self._timer = self.set_interval(BEAT, lambda: self._advance(ballot))

    @property
    def _are_complete(self) -> bool:
        return 0 < len(self._lengths) == len(self._complete)

    def _advance(self, ballot: Ballot) -> None:
        """Show as many characters of each answer as the shortest unfinished answer has. Before all answers have begun,
        no text is shown, and the speed of an engine does not reveal the engine."""
        limit = min((len(run.text) for run in ballot.answers if run.phase != "ended"), default=None)
        if self.revealed or limit == 0:
            return
        had_begun = any(self._lengths)
        for number, (column, run) in enumerate(zip(self.columns, ballot.answers, strict=True)):
            text = run.text[self._lengths[number] : limit]
            column.transcript.write(text)
            self._lengths[number] += len(text)
            is_complete = run.phase == "ended" and self._lengths[number] == len(run.text)
            if is_complete and number not in self._complete:
                self._complete.add(number)
                column.end(run)  # without an error, which could reveal the engine
            column.transcript.flush()
        self._show_keys()
        if self._are_complete:
            if self._timer is not None:
                self._timer.stop()
            self._asked_at = monotonic()
            self.say(self.refusal("tie") or "Which answer is better?")
        elif any(self._lengths) and not had_begun:
            self.say("Read on; you can vote once all answers are complete.")

    def _show_keys(self) -> None:
        if self._vote_id is not None:
            hints = [("enter", "next prompt, blind"), ("q", "end blind voting"), ("u", "undo the vote")]
        elif self._are_complete:
            hints = [(self.letters, "better"), ("t", "tie"), ("x", "all bad"), ("s", "skip"), ("q", "quit")]
            hints += [("?", "help"), ("j k", "scroll")]
        else:
            hints = [("^c", "stop"), ("esc", "quit"), ("?", "help"), ("j k", "scroll")]
        if hints != self._hinted:
            self.show_hints(hints)

    # Voting

    def on_key(self, event: events.Key) -> None:
        """Ignore letters of a text that began before the question: they may belong to a prompt that is typed ahead."""
        is_ahead = event.time < self._ahead_until
        if not event.is_printable or not (is_ahead or event.time < self._asked_at):
            return
        if event.character not in _EARLY:
            event.stop()
            is_ahead = True
            self.say(
                "Text typed ahead is not a vote. Which answer is better?"
                if self._are_complete
                else "You can vote once all answers are complete."
            )
        if is_ahead:
            self._ahead_until = event.time + _PAUSE_S

    def refusal(self, choice: VoteChoice) -> str:
        if self._vote_id is not None:
            return "You have voted; u undoes the vote."
        return super().refusal(choice)

    async def cast(self, ballot: Ballot, choice: VoteChoice) -> None:
        self._vote_id = await save_vote(self._history, self._session, ballot, choice, blind=not self.revealed)
        if self.is_gone:
            return
        self.show_names(choice)
        uncounted = (
            "" if ballot.is_rated else " The vote does not count in ratings: the engines have the same name."
        )
        self.say(f"Saved: {verdict_of(choice)}.{uncounted}")
        self._show_keys()

    def name_of(self, run: Run) -> str:
        lanes = self._session.lanes
        return next((lane.name for lane in lanes if run in lane.record.runs), run.result.definition.name)

    def action_skip(self) -> None:
        self.dismiss(True)

    def action_leave(self) -> None:
        """Leave; before a vote, ask first, because the lanes show the names."""
        if self.ballot is None or self.revealed:
            self.dismiss(False)
        else:
            question = Confirmation("Quit without a vote? The names are shown then.")
            self.app.push_screen(question, self._leave)

    def _leave(self, confirmed: bool | None) -> None:
        if confirmed:
            self.dismiss(False)

    def action_go_on(self) -> None:
        if self.revealed:
            self.dismiss(True)

    def action_undo(self) -> None:
        """Undo the vote. A new vote counts as not blind, because the names are known."""
        if self._vote_id is None:
            self.say("There is no vote to undo.")
        else:
            self.do(self._undo)

    async def _undo(self) -> None:
        vote_id = self._vote_id
        if vote_id is not None:
            await self._history.call(lambda store: store.votes.delete(vote_id))
            self._vote_id = None
            if self.is_gone:
                return
            self.show_names(None)
            self._show_keys()
            self.say("The vote is undone. Another vote counts as not blind.")

    def action_stop(self) -> None:
        if self._are_complete or self.ballot is None:
            self.action_leave()
        else:
            self.do(self._session.stop)
