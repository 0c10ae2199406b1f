"""Votes on the answers of the lanes, blind or with the names known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from paragone import ParagoneError

if TYPE_CHECKING:
    from paragone_tui.history_opening import HistoryOpening
    from paragone_tui.program import Program
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run

__all__ = ["VoteCommands"]


class VoteCommands:
    """Votes on answers whose names are hidden until then, and on answers in the lanes."""

    def __init__(
        self, context: LanesContext, program: Program, history: HistoryOpening, *, markdown: bool
    ) -> None:
        """Create the commands. `markdown` is whether answers are typeset."""
        self.blind = False
        """Whether the answers to the next prompts come without the names of the lanes."""
        self._context = context
        self._session = context.session
        self._program = program
        self._history = history
        self._markdown = markdown

    def blind_vote(self) -> None:
        """Let the next answers come without names, or no longer."""
        self._be_blind(not self.blind)
        self._context.say(
            "The next answers come shuffled and without names, until you have voted."
            if self.blind
            else "The next answers come in their lanes again."
        )

    def _be_blind(self, blind: bool) -> None:
        self.blind = blind
        self._context.show_keys()

    def can_vote(self, edited: Prompt | None) -> bool:
        """Return whether two lanes or more can answer blind: say so if not. `edited`: as another prompt than this."""
        from paragone_workbench.experiments.voting.ballots import LETTERS

        lanes = [lane for lane in self._session.lanes if self._session.can_answer(lane)]
        if edited is not None:
            lanes = [lane for lane in lanes if lane.answer(edited) is not None]
        if not 2 <= len(lanes) <= len(LETTERS):
            self._context.say(
                f"A blind vote needs two lanes that can answer, and has at most {len(LETTERS)}; "
                f"{self._context.key_of('blind-vote')} ends blind voting, {self._context.key_of('add-lane')} adds a lane."
            )
            return False
        return self._has_history() and not self._context.is_answering(lanes)

    def _has_history(self) -> bool:
        """Return whether votes can be saved: say so if not."""
        if self._history.history is None:
            self._context.say(
                "Votes can be saved once the history is open. Try again in a moment.", warning=True
            )
        return self._history.history is not None

    def open_ballot(self, ask: Callable[[], Prompt | None]) -> None:
        """Cover the lanes, then send a prompt with `ask`, and show its answers without their names."""
        from paragone_tui.screens.vote.turn import BlindTurn
        from paragone_workbench.experiments.voting.ballots import Ballot, shuffled

        if self._history.history is None or not self._context.lanes.screen.is_active:
            return

        def ballot() -> Ballot | None:
            prompt = ask()
            if prompt is None:
                return None
            return Ballot(
                prompt=_text_of(prompt),
                answers=shuffled(_answers(self._session.lanes, prompt)),
                asked=prompt,
            )

        self._program.clear_notifications()  # they may name a lane
        turn = BlindTurn(
            self._history.history, self._session, ballot, program=self._program, markdown=self._markdown
        )
        self._context.show(turn, lambda again: self._be_blind(bool(again)))

    def prefer_answer(self) -> None:
        """Vote for the current lane's last answer, over those of the other lanes to the same prompt."""
        column = self._context.current_or_say()
        if column is None:
            return
        lane = column.lane
        run = lane.record.head
        prompt = run.prompt if run is not None else None
        lanes = [] if prompt is None else [it for it in self._session.lanes if _has_answered(it, prompt)]
        if prompt is None or lane not in lanes or len(lanes) < 2:
            self._context.say("There is no answer of this lane and of another one to the same prompt.")
        elif self._has_history() and not self._context.is_answering(lanes):
            self._program.save(self._prefer(lane, lanes, prompt))

    async def _prefer(self, lane: Lane, lanes: list[Lane], prompt: Prompt) -> None:
        from paragone_workbench.experiments.voting.ballots import Ballot, save_vote

        assert self._history.history is not None
        ballot = Ballot(prompt=prompt.text, answers=tuple(_answers(lanes, prompt)), asked=prompt)
        try:
            await save_vote(self._history.history, self._session, ballot, lanes.index(lane), blind=False)
        except ParagoneError as error:
            self._program.complain(error)
            return
        self._context.say(f"Saved: the answer of {lane.name} is better. The vote counts as not blind.")


def _answers(lanes: Iterable[Lane], prompt: Prompt) -> list[Run]:
    return [run for run in (lane.answer(prompt) for lane in lanes) if run is not None]


def _has_answered(lane: Lane, prompt: Prompt) -> bool:
    run = lane.answer(prompt)
    return run is not None and run.state != "failed"


def _text_of(prompt: Prompt) -> str:
    return "\n".join((prompt.text, *(f"[{image.name}]" for image in prompt.images)))
