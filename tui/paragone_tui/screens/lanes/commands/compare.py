"""Commands that compare lanes or engines, and votes on answers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from paragone import InputError
from paragone_tui.screens.lanes.commands.context import LanesContext, on_current_lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paragone_tui.screens.divergence import Chosen
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.compare.divergence import Divergence, Fork
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.measure.fidelity import Fidelity
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.history import History


def toggle_differences(context: LanesContext) -> None:
    shown = context.lanes.differences.toggle()
    context.lanes.lay_out()
    context.say(
        "Words that differ from the lane with ◆ are underlined."
        if shown
        else f"Differences are not marked; {context.key_of('toggle-differences')} marks them again."
    )


@on_current_lane
def reference_lane(context: LanesContext, column: LaneColumn) -> None:
    context.lanes.differences.compare_with(column.lane)
    context.lanes.lay_out()


@on_current_lane
def toggle_heat(context: LanesContext, column: LaneColumn) -> None:
    """Turn the colouring of the current lane's tokens by their probabilities on or off."""
    if not context.lanes.differences.toggle_heat(column.lane):
        context.say("The probabilities of the tokens are hidden.")
    elif not column.lane.engine.capabilities.logprobs:
        context.say("This lane's engine does not report the probabilities of its tokens.")
    elif any(run.result.tokens for run in column.lane.path):
        context.say(
            "Plain: 90% or more. Green italic: 50% to 90%. Yellow bold: 10% to 50%. Red reversed: less."
        )
    else:
        context.session.wants_tokens = True
        context.say(
            "The probabilities of tokens are kept from the next answer on; "
            f"{context.key_of('regenerate')} answers again."
        )


def parity(context: LanesContext) -> None:
    from paragone_tui.screens.parity import ParitySheet

    context.show(ParitySheet(context.session, context.do))


def fidelity(context: LanesContext) -> None:
    """Measure how far the models of the other lanes are from the reference lane's model."""
    session, reference = context.session, context.lanes.differences.reference
    if reference is None or len(session.lanes) < 2:
        context.say(f"There is nothing to compare with; {context.key_of('add-lane')} adds a lane.")
        return
    if session.pool.scheduler.opens_engines:
        context.say(
            "The comparison needs all engines in memory, but here only one engine is in memory at a time."
        )
        return
    if any(lane.engine.is_opening for lane in session.lanes):
        context.say("An engine is still being opened. Try again in a moment.")
        return
    if context.is_answering(session.lanes):
        return
    from paragone_tui.screens.fidelity_sheet import FidelitySheet

    lanes = [reference, *(lane for lane in session.lanes if lane is not reference)]
    context.show(FidelitySheet(lanes, context.do, lambda found: _save_fidelity(context, lanes, found)))


async def _save_fidelity(context: LanesContext, lanes: Sequence[Lane], found: Fidelity) -> None:
    """Save the measurements for reports, as the command line does."""
    from paragone_workbench.experiments.identity import measurement_of
    from paragone_workbench.measure.fidelity_verdict import fidelity_json
    from paragone_workbench.store.saving import retrying

    history = context.history.history
    if history is None:
        return
    engines = [dataclasses.replace(lane.engine.definition, name=lane.name) for lane in lanes]
    data = {"text": None, **fidelity_json(found), "free_running": None}
    measurement = await asyncio.to_thread(measurement_of, "fidelity", engines, data, context.session.registry)
    await retrying(history, lambda store: store.measurements.add(measurement))


@on_current_lane
def divergence(context: LanesContext, column: LaneColumn) -> None:
    """Show where the current lane's answer parts from the reference lane's answer, and how sure each engine was."""
    if len(context.lanes.columns) < 2:
        context.say(f"There is nothing to compare with; {context.key_of('add-lane')} adds a lane.")
    elif not context.is_answering(context.session.lanes):
        context.do(lambda: _show_divergence(context, column))


async def _show_divergence(context: LanesContext, column: LaneColumn) -> None:
    from paragone_tui.screens.divergence import DivergenceSheet
    from paragone_workbench.compare.divergence import Divergence, fork_of

    await asyncio.gather(*(shown.lane.engine.vocabulary() for shown in context.lanes.columns))
    answers = _answers(context, column.lane)
    if answers is None:
        context.say("The lanes have not answered the same prompt yet.")
        return
    reference, *candidates = answers
    parted = [answer for answer in candidates if answer.parting != Divergence()]
    if not parted:
        context.say(_no_parting(answers))
        return
    if any(answer.run.spec is None or answer.run.spec.logprobs is None for answer in answers):
        context.session.wants_tokens = True  # the sheet can show the alternatives of the next answers
    forks: dict[Fork, Sequence[_Answer]] = {}
    for answer in sorted(parted, key=lambda answer: (answer.parting and answer.parting.char) or 0):
        if any(answer.parting == fork.place for fork in forks):
            continue  # the fork of another candidate at the same place has this answer, too
        shown = [reference, answer, *(other for other in candidates if other is not answer)]
        forks[fork_of([(side.lane.name, side.run.result, side.parting) for side in shown])] = shown
    current = next((answer.parting for answer in parted if answer.lane is column.lane), None)
    first = next((at for at, fork in enumerate(forks) if fork.place == current), 0)
    prompt = reference.run.prompt.text if reference.run.prompt is not None else ""
    sheet = DivergenceSheet(
        prompt, tuple(forks), first, lambda fork, chosen: _go_on_from(context, fork, chosen, forks[fork])
    )
    context.show(sheet)


def _go_on_from(context: LanesContext, fork: Fork, chosen: Chosen, answers: Sequence[_Answer]) -> None:
    """Let lanes continue from the token that the user chose."""
    from paragone_workbench.compare.divergence import prefix_with
    from paragone_workbench.lanes.session import continue_prefix

    if context.is_answering(context.session.lanes):
        return
    for answer, side in zip(answers, fork.sides, strict=True):
        prefix = prefix_with(fork, side, chosen.token) if side in chosen.sides else None
        if prefix is None:
            continue
        try:
            continue_prefix(context.session, answer.lane, answer.run, prefix)
        except InputError as error:
            context.say(str(error))
    context.lanes.show_history()


def _no_parting(answers: Sequence[_Answer]) -> str:
    incomplete = [answer.lane.name for answer in answers if answer.run.state != "done"]
    if not incomplete:
        return "The answers to the last prompt do not differ."
    names = " and ".join(incomplete)
    return f"The last prompt has no complete answer of {names}; so far, the answers do not differ."


class _Answer(NamedTuple):
    lane: Lane
    run: Run
    parting: Divergence | None
    """The place where the answer parts from the reference's answer; None for the reference's answer."""


def _answers(context: LanesContext, current: Lane) -> list[_Answer] | None:
    """Return the answers to the last prompt that the current lane and the reference have answered.

    The first item is the reference's answer. Returns None if no other answer can be compared with the reference's answer.
    """
    differences = context.lanes.differences
    reference = differences.reference
    if reference is None:
        return None
    lanes = [column.lane for column in context.lanes.columns if column.lane is not reference]
    for run in reversed(reference.path):
        prompt = run.prompt
        if prompt is None:
            continue
        found = [
            _Answer(lane, answer, parting)
            for lane in lanes
            if (answer := lane.answer(prompt)) and (parting := differences.parting(prompt, lane))
        ]
        if found and (current is reference or any(answer.lane is current for answer in found)):
            return [_Answer(reference, run, None), *found]
    return None


def blind_vote(context: LanesContext) -> None:
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
    from paragone_workbench.experiments.voting import LETTERS

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
    from paragone_tui.screens.blind_turn import BlindTurn
    from paragone_workbench.experiments.voting import Ballot, shuffled

    history, session, program = context.history.history, context.session, context.program
    if history is None or not context.lanes.screen.is_active:
        return

    def ballot() -> Ballot | None:
        prompt = ask()
        if prompt is None:
            return None
        return Ballot(
            prompt=prompt.written_with_names,
            answers=shuffled(_voted_answers(session.lanes, prompt)),
            asked=prompt,
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
    from paragone_workbench.experiments.voting import Ballot, save_vote

    ballot = Ballot(
        prompt=prompt.written_with_names, answers=tuple(_voted_answers(lanes, prompt)), asked=prompt
    )
    await save_vote(history, context.session, ballot, lanes.index(lane), blind=False)
    context.say(
        f"Saved: the answer of {lane.name} is better. The vote counts as not blind; "
        f"{context.key_of('undo-vote')} takes it back."
    )


def undo_vote(context: LanesContext) -> None:
    if (history := context.history_or_say()) is not None:
        program = context.program
        program.save(program.reported(lambda: _undo(context, history)))


async def _undo(context: LanesContext, history: History) -> None:
    from paragone_workbench.store.saving import retrying

    prompts = [prompt.id for prompt in context.session.prompts]
    taken_back = await retrying(history, lambda store: store.votes.delete_last(prompts))
    context.say(
        "The last vote of this conversation is taken back."
        if taken_back
        else "There is no vote in this conversation."
    )


def _voted_answers(lanes: Iterable[Lane], prompt: Prompt) -> list[Run]:
    return [run for run in (lane.answer(prompt) for lane in lanes) if run is not None]


def _has_answered(lane: Lane, prompt: Prompt) -> bool:
    run = lane.answer(prompt)
    return run is not None and run.state != "failed"
