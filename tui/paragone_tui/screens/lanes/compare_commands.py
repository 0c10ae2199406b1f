"""Commands that compare lanes or engines, and votes on answers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_tui.screens.lanes.lanes_screen import LanesScreen, on_current_lane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paragone import Alternative
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.compare.divergence import Fork, ForkSide
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.measure.fidelity import Fidelity
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import QueuedPrompt
    from paragone_workbench.store.saving import History


def toggle_differences(screen: LanesScreen) -> None:
    shown = screen.lanes.differences.toggle()
    screen.lanes.lay_out()
    screen.say(
        "Words that differ from the lane with ◆ are underlined."
        if shown
        else f"Differences are not marked; {screen.key_of('toggle-differences')} marks them again."
    )


@on_current_lane
def reference_lane(screen: LanesScreen, column: LaneColumn) -> None:
    screen.lanes.differences.compare_with(column.lane)
    screen.lanes.lay_out()


@on_current_lane
def toggle_heat(screen: LanesScreen, column: LaneColumn) -> None:
    if not screen.lanes.differences.toggle_heat(column.lane):
        screen.say("The probabilities of the tokens are hidden.")
    elif not column.lane.engine.capabilities.logprobs:
        screen.say("This lane's engine does not report the probabilities of its tokens.")
    elif any(run.result.tokens for run in column.lane.path):
        screen.say(
            "Plain: 90% or more. Green italic: 50% to 90%. Yellow bold: 10% to 50%. Red reversed: less."
        )
    else:
        screen.session.wants_tokens = True
        screen.say(
            "The probabilities of tokens are kept from the next answer on; "
            f"{screen.key_of('regenerate')} answers again."
        )


def parity(screen: LanesScreen) -> None:
    from paragone_tui.screens.parity import ParitySheet

    screen.show(ParitySheet(screen.session, screen.do))


def fidelity(screen: LanesScreen) -> None:
    session, reference = screen.session, screen.lanes.differences.reference
    if reference is None or len(session.lanes) < 2:
        screen.say(f"There is no other lane to compare with; {screen.key_of('add-lane')} adds a lane.")
        return
    if session.pool.opens_engines:
        screen.say(
            "The comparison needs all engines in memory, but here only one engine is in memory at a time."
        )
        return
    if any(lane.engine.is_opening for lane in session.lanes):
        screen.say("An engine is still being opened. Try again in a moment.")
        return
    if screen.is_answering(session.lanes):
        return
    from paragone_tui.screens.fidelity_sheet import FidelitySheet

    lanes = [reference, *(lane for lane in session.lanes if lane is not reference)]
    screen.show(FidelitySheet(lanes, screen.do, lambda found: _save_fidelity(screen, lanes, found)))


async def _save_fidelity(screen: LanesScreen, lanes: Sequence[Lane], found: Fidelity) -> None:
    from paragone_workbench.experiments.identity import measurement_of
    from paragone_workbench.measure.fidelity_verdict import fidelity_json

    history = screen.history.history
    if history is None:
        return
    engines = [dataclasses.replace(lane.engine.definition, name=lane.name) for lane in lanes]
    data = {"text": None, **fidelity_json(found), "free_running": None}
    measurement = await asyncio.to_thread(measurement_of, "fidelity", engines, data, screen.session.registry)
    await history.call(lambda store: store.measurements.add(measurement))


@on_current_lane
def worst_places(screen: LanesScreen, column: LaneColumn) -> None:
    screen.do(lambda: _show_worst_places(screen, column.lane.engine.definition))


async def _show_worst_places(screen: LanesScreen, engine: EngineDefinition) -> None:
    from paragone_tui.screens.divergence import DivergenceSheet
    from paragone_workbench.measure.conversations import worst_forks

    history = screen.history.history
    found = () if history is None else await history.call(lambda store: store.measurements.all("fidelity"))
    if forks := await asyncio.to_thread(worst_forks, found, engine):
        screen.show(DivergenceSheet("", forks, 0, None))
    else:
        screen.say(
            f"No suite has been measured with {engine.name}: `paragone fidelity REFERENCE {engine.name} --suite FILE`."
        )


@on_current_lane
def divergence(screen: LanesScreen, column: LaneColumn) -> None:
    """Show where the current lane's answer parts from the reference lane's answer, and how sure each engine was."""
    if len(screen.lanes.columns) < 2:
        screen.say(f"There is no other lane to compare with; {screen.key_of('add-lane')} adds a lane.")
    elif not screen.is_answering(screen.session.lanes):
        screen.do(lambda: _show_divergence(screen, column))


async def _show_divergence(screen: LanesScreen, column: LaneColumn) -> None:
    from paragone_tui.screens.divergence import DivergenceSheet
    from paragone_workbench.compare.divergence import Divergence, fork_of

    lanes = [shown.lane for shown in screen.lanes.columns]
    await asyncio.gather(*(lane.engine.vocabulary() for lane in lanes))
    differences = screen.lanes.differences
    reference = differences.reference
    prompts = [] if reference is None else [run.prompt for run in reference.path if run.prompt is not None]
    for prompt in reversed(prompts):
        partings = {lane: parting for lane in lanes if (parting := differences.divergence_of(prompt, lane))}
        if column.lane in partings and len(partings) > 1:
            break
    else:
        screen.say("The lanes have not answered the same prompt yet.")
        return
    assert reference is not None
    answers = {lane: run for lane in partings if (run := lane.answer(prompt)) is not None}
    parted = [lane for lane, parting in partings.items() if parting != Divergence()]
    if not parted:
        screen.say(_no_parting(answers))
        return
    if any(run.spec is None or run.spec.logprobs is None for run in answers.values()):
        screen.session.wants_tokens = True  # the sheet can show the alternatives of the next answers
    forks: dict[Fork, Sequence[tuple[Lane, Run]]] = {}
    for lane in sorted(parted, key=lambda lane: partings[lane].char or 0):
        if any(partings[lane] == fork.place for fork in forks):
            continue  # the fork of another lane at the same place has this answer, too
        shown = [(side, answers[side]) for side in dict.fromkeys((reference, lane, *answers))]
        sides = [
            (side.name, run.result, None if side is reference else partings[side]) for side, run in shown
        ]
        forks[fork_of(sides)] = shown
    first = next((at for at, fork in enumerate(forks) if fork.place == partings[column.lane]), 0)
    sheet = DivergenceSheet(
        prompt.text,
        tuple(forks),
        first,
        lambda fork, token, sides: _go_on_from(screen, fork, token, sides, forks[fork]),
    )
    screen.show(sheet)


def _go_on_from(
    screen: LanesScreen,
    fork: Fork,
    token: Alternative,
    sides: Sequence[ForkSide],
    answers: Sequence[tuple[Lane, Run]],
) -> None:
    from paragone_workbench.compare.divergence import prefix_with
    from paragone_workbench.lanes.session import continue_prefix

    if screen.is_answering(screen.session.lanes):
        return
    for (lane, run), side in zip(answers, fork.sides, strict=True):
        prefix = prefix_with(fork, side, token) if side in sides else None
        if prefix is None:
            continue
        try:
            continue_prefix(screen.session, lane, run, prefix)
        except InputError as error:
            screen.say(str(error))
    screen.show_state()


def _no_parting(answers: Mapping[Lane, Run]) -> str:
    incomplete = [lane.name for lane, run in answers.items() if run.state != "done"]
    if not incomplete:
        return "The answers to the last prompt do not differ."
    names = " and ".join(incomplete)
    return f"The last prompt has no complete answer of {names}; so far, the answers do not differ."


def blind_vote(screen: LanesScreen) -> None:
    _be_blind(screen, not screen.is_blind)
    screen.say(
        "The next answers are shuffled and without names until you have voted."
        if screen.is_blind
        else "Blind voting is off."
    )


def _be_blind(screen: LanesScreen, blind: bool) -> None:
    screen.is_blind = blind
    screen.show_keys()


def can_vote(screen: LanesScreen, edited: Prompt | None) -> bool:
    """Return whether a blind vote on the next answers is possible, and show why if the vote is not possible. `edited` is
    the earlier prompt that the user edits; None for a new prompt."""
    from paragone_workbench.experiments.voting import LETTERS

    lanes = [lane for lane in screen.session.lanes if screen.session.can_answer(lane)]
    if edited is not None:
        lanes = [lane for lane in lanes if lane.answer(edited) is not None]
    if not 2 <= len(lanes) <= len(LETTERS):
        screen.say(
            f"A blind vote needs two lanes that can answer, and has at most {len(LETTERS)}; "
            f"{screen.key_of('blind-vote')} ends blind voting, {screen.key_of('add-lane')} adds a lane."
        )
        return False
    return screen.history_or_say() is not None and not screen.is_answering(lanes)


def open_ballot(
    screen: LanesScreen,
    ask: Callable[[], Prompt | None],
    send_ahead: Callable[[Sequence[QueuedPrompt]], None],
    ahead: Sequence[QueuedPrompt] = (),
) -> None:
    """Cover the lanes, then send a prompt with `ask`, and show the answers without the names of their engines.

    After the vote, call `send_ahead` with the prompts of the queue that waited for the vote: those of `ahead`, and new ones.
    """
    from paragone_tui.screens.lanes.blind_turn import BlindTurn
    from paragone_workbench.experiments.voting import Ballot, shuffled

    history, session, program = screen.history.history, screen.session, screen.program
    if history is None or not screen.lanes.screen.is_active:
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
    turn = BlindTurn(history, session, ballot, ahead=ahead, program=program, markdown=screen.markdown)

    def closed(again: bool) -> None:
        if turn.next_prompt.text:
            unsent = screen.unsent
            screen.composer.put("")
            screen.composer.restore(unsent)
        screen.next_prompt = None
        _be_blind(screen, again)
        send_ahead([queued for queued in session.queue.prompts if any(queued is it for it in turn.ahead)])

    screen.next_prompt = turn.next_prompt
    screen.show(turn, closed)


@on_current_lane
def prefer_answer(screen: LanesScreen, column: LaneColumn) -> None:
    lane = column.lane
    run = lane.record.head
    prompt = run.prompt if run is not None else None
    lanes = (
        [] if prompt is None else [other for other in screen.session.lanes if _has_answered(other, prompt)]
    )
    if prompt is None or lane not in lanes or len(lanes) < 2:
        screen.say("This lane and another lane must first answer the same prompt.")
    elif (history := screen.history_or_say()) is not None and not screen.is_answering(lanes):
        program = screen.program
        program.save(program.run_and_report_errors(lambda: _prefer(screen, history, lane, lanes, prompt)))


async def _prefer(
    screen: LanesScreen, history: History, lane: Lane, lanes: list[Lane], prompt: Prompt
) -> None:
    from paragone_workbench.experiments.voting import Ballot, save_vote

    ballot = Ballot(
        prompt=prompt.written_with_names, answers=tuple(_voted_answers(lanes, prompt)), asked=prompt
    )
    await save_vote(history, screen.session, ballot, lanes.index(lane), blind=False)
    screen.say(
        f"Saved: the answer of {lane.name} is better. The vote counts as not blind; "
        f"{screen.key_of('undo-vote')} undoes it."
    )


def undo_vote(screen: LanesScreen) -> None:
    if (history := screen.history_or_say()) is not None:
        program = screen.program
        program.save(program.run_and_report_errors(lambda: _undo(screen, history)))


async def _undo(screen: LanesScreen, history: History) -> None:

    prompts = [prompt.id for prompt in screen.session.prompts]
    taken_back = await history.call(lambda store: store.votes.delete_last(prompts))
    screen.say(
        "The last vote of this conversation is undone."
        if taken_back
        else "There is no vote in this conversation."
    )


def _voted_answers(lanes: Iterable[Lane], prompt: Prompt) -> list[Run]:
    return [run for run in (lane.answer(prompt) for lane in lanes) if run is not None]


def _has_answered(lane: Lane, prompt: Prompt) -> bool:
    run = lane.answer(prompt)
    return run is not None and run.state != "failed"
