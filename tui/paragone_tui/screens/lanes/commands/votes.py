"""Votes on the answers of the lanes, blind or with the names known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from paragone_tui.screens.lanes.commands.context import LanesContext, on_current_lane

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.history import History


def blind_vote(context: LanesContext) -> None:
    """Hide the engines' names for the next answers, or show the names again."""
    _be_blind(context, not context.is_blind)
    context.say(
        "The next answers are shuffled and without names until you have voted."
        if context.is_blind
        else "Blind voting is off."
    )


def _be_blind(context: LanesContext, blind: bool) -> None:
    context.is_blind = blind
    context.show_keys()


def can_vote(context: LanesContext, edited: Prompt | None) -> bool:
    """Return whether a blind vote on the next answers is possible, and show why if the vote is not possible.

    `edited` is the earlier prompt that the user edits; None for a new prompt.
    """
    from paragone_workbench.experiments.voting.ballots import LETTERS

    lanes = [lane for lane in context.session.lanes if context.session.can_answer(lane)]
    if edited is not None:
        lanes = [lane for lane in lanes if lane.answer(edited) is not None]
    if not 2 <= len(lanes) <= len(LETTERS):
        context.say(
            f"A blind vote needs two lanes that can answer, and has at most {len(LETTERS)}; "
            f"{context.key_of('blind-vote')} ends blind voting, {context.key_of('add-lane')} adds a lane."
        )
        return False
    return context.history_or_say() is not None and not context.is_answering(lanes)


def open_ballot(context: LanesContext, ask: Callable[[], Prompt | None]) -> None:
    """Cover the lanes, then send a prompt with `ask`, and show the answers without the names of their engines."""
    from paragone_tui.screens.vote.turn import BlindTurn
    from paragone_workbench.experiments.voting.ballots import Ballot, shuffled

    history, session, program = context.history.history, context.session, context.program
    if history is None or not context.lanes.screen.is_active:
        return

    def ballot() -> Ballot | None:
        prompt = ask()
        if prompt is None:
            return None
        return Ballot(
            prompt=prompt.written_with_names, answers=shuffled(_answers(session.lanes, prompt)), asked=prompt
        )

    program.clear_notifications()  # a message may name a lane
    turn = BlindTurn(history, session, ballot, program=program, markdown=context.markdown)
    context.show(turn, lambda again: _be_blind(context, again))


@on_current_lane
def prefer_answer(context: LanesContext, column: LaneColumn) -> None:
    """Vote for the current lane's last answer, against the other lanes' answers to the same prompt."""
    lane = column.lane
    run = lane.record.head
    prompt = run.prompt if run is not None else None
    lanes = (
        [] if prompt is None else [other for other in context.session.lanes if _has_answered(other, prompt)]
    )
    if prompt is None or lane not in lanes or len(lanes) < 2:
        context.say("This lane and another lane must first answer the same prompt.")
    elif (history := context.history_or_say()) is not None and not context.is_answering(lanes):
        program = context.program
        program.save(program.reported(lambda: _prefer(context, history, lane, lanes, prompt)))


async def _prefer(
    context: LanesContext, history: History, lane: Lane, lanes: list[Lane], prompt: Prompt
) -> None:
    from paragone_workbench.experiments.voting.ballots import Ballot, save_vote

    ballot = Ballot(prompt=prompt.written_with_names, answers=tuple(_answers(lanes, prompt)), asked=prompt)
    await save_vote(history, context.session, ballot, lanes.index(lane), blind=False)
    context.say(
        f"Saved: the answer of {lane.name} is better. The vote counts as not blind; "
        f"{context.key_of('undo-vote')} takes it back."
    )


def undo_vote(context: LanesContext) -> None:
    """Take back the last vote in this conversation."""
    if (history := context.history_or_say()) is not None:
        program = context.program
        program.save(program.reported(lambda: _undo(context, history)))


async def _undo(context: LanesContext, history: History) -> None:
    from paragone_workbench.store.retry import retrying

    prompts = [prompt.id for prompt in context.session.prompts]
    taken_back = await retrying(history, lambda store: store.votes.delete_last(prompts))
    context.say(
        "The last vote of this conversation is taken back."
        if taken_back
        else "There is no vote in this conversation."
    )


def _answers(lanes: Iterable[Lane], prompt: Prompt) -> list[Run]:
    return [run for run in (lane.answer(prompt) for lane in lanes) if run is not None]


def _has_answered(lane: Lane, prompt: Prompt) -> bool:
    run = lane.answer(prompt)
    return run is not None and run.state != "failed"
