"""Helpers that open lanes, send prompts and give the expected answers of the rogue backend."""

import asyncio

from paragone import Json
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run

LONG: dict[str, Json] = {"max_tokens": 10**6, "rate": 100}
"""Options for an answer that does not end by itself."""


def words(count: int) -> str:
    """Return the first words of the answer of the model `steady`."""
    return "".join(f"word{number} " for number in range(count))


def ask(lane: Lane, text: str = "hello") -> Run:
    """Send a prompt to a lane without a session."""
    return lane.ask(Prompt(text=text))


async def opened(session: Session, *definitions: EngineDefinition) -> list[Lane]:
    """Add lanes to a session and open their engines."""
    lanes = [session.add_lane(definition) for definition in definitions]
    session.open_engines()
    await asyncio.gather(*(lane.engine.opened() for lane in lanes))
    return lanes


async def answers(session: Session, text: str) -> list[str]:
    """Send a prompt and return the answer of each lane; an empty text for lanes that did not get it."""
    session.send(text)
    await session.answered()
    runs = (lane.answer(session.prompts[-1]) for lane in session.lanes)
    return [run.text if run else "" for run in runs]
