"""Continue answers that were cut, stopped or interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone import InputError

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.runs.prefix import Prefix
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.runs.run import Run


def continue_run(session: Session, lane: Lane, run: Run | None = None) -> Run:
    """Let a lane continue an answer that was cut, stopped or interrupted, by default its last answer.

    Raises InputError if the answer is complete or has no text, or if `continue_prefix` raises InputError.
    """
    from paragone_workbench.runs.prefix import Prefix  # imported here so that the program starts faster

    run = run or lane.record.head
    if run is None or not (run.text or run.thinking):
        raise InputError(f"{lane.name} has no answer to go on with.")
    if not is_unfinished(run.result):
        raise InputError(f"The answer of {lane.name} is complete: the model ended it.")
    same_model = run.result.definition.has_model_of(lane.engine.definition)
    return continue_prefix(session, lane, run, Prefix.of_answer(run.result, same_model=same_model))


def continue_prefix(session: Session, lane: Lane, run: Run, prefix: Prefix) -> Run:
    """Let a lane continue a prefix of one of its answers, and return the new run.

    The earlier answer and the turns after it are kept as a variant. Must not be called while the lane is busy. Raises
    InputError if the engine is not running or cannot continue an answer.
    """
    if not session.can_answer(lane):
        raise InputError(f"The engine of {lane.name} is not running.")
    if not lane.engine.capabilities.continues:
        raise InputError(
            f"The engine of {lane.name} cannot go on with an answer: the engine would begin a new answer.",
            hint="Change the engine, or have the prompt answered again.",
        )
    assert run.prompt is not None
    again = lane.ask(run.prompt, instead_of=run, prefix=prefix)
    session.follow(lane, again)
    return again


def is_unfinished(answer: RunResult) -> bool:
    """Return whether an answer has text, but was cut, stopped or interrupted, or failed."""
    has_text = bool(answer.text or answer.thinking)
    return has_text and answer.state != "running" and answer.finish != "stop"
