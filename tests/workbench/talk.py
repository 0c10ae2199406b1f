"""What tests say to lanes, and what the rogue backend answers."""

from __future__ import annotations

import asyncio

from paragone import Json
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.record import RunRecord

LONG: dict[str, Json] = {"max_tokens": 10**6, "rate": 100}
"""Options of an answer that does not end by itself."""


def words(count: int) -> str:
    """Return what the steady model answers."""
    return "".join(f"word{number} " for number in range(count))


def ask(lane: Lane, text: str = "hello") -> RunRecord:
    """Ask a lane that is in no session."""
    return lane.ask(Prompt(text=text))


async def opened(session: Session, *definitions: EngineDefinition) -> list[Lane]:
    """Put lanes into a session and open their engines."""
    lanes = [session.add_lane(definition) for definition in definitions]
    session.open_engines()
    await asyncio.gather(*(lane.engine.opened() for lane in lanes))
    return lanes


async def answers(session: Session, text: str) -> list[str]:
    """Send a prompt and return what each lane answered; nothing where it was not asked."""
    session.send(text)
    await session.answered()
    runs = (lane.answer(session.prompts[-1]) for lane in session.lanes)
    return [run.text if run else "" for run in runs]
