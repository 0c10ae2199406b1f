"""The time to stop a run during decode and during prefill, through a real lane and its worker."""

import asyncio
import statistics
import time

from bench.programs import smollm2
from bench.row import Row
from paragone import Json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session

__all__ = ["stop"]

RUNS = 5
WORDS = "The keeper climbed the stairs and lit the lamp. " * 400


def stop() -> list[Row]:
    """Measure the time to stop during decode and during prefill. The baseline is the waiting time without a stop."""
    return asyncio.run(_stop())


async def _stop() -> list[Row]:
    session = Session(Registry())
    options: dict[str, Json] = {"n_ctx": 8192, "temperature": 0.0}
    lane = session.add_lane(
        EngineDefinition(name="smol", backend="llama_cpp", model=str(smollm2()), options=options)
    )
    session.open_engines()
    if not await lane.engine.opened():
        raise RuntimeError(str(lane.error))
    in_decode = [await _stop_decode(session, lane) for _ in range(RUNS)]
    in_prompt = [await _stop_prompt(session, lane, number) for number in range(RUNS)]
    whole, tokens = await _whole_prompt(session, lane)
    await session.close()
    worst, worst_prompt = max(in_decode), max(in_prompt)
    return [
        Row(
            figure="time to stop during decode",
            measured=f"{worst * 1000:.0f} ms maximum, {statistics.median(in_decode) * 1000:.0f} ms median of {RUNS}",
            baseline="without a stop, the rest of the answer",
            budget="≤ 100 ms",
            holds=worst <= 0.1,
        ),
        Row(
            figure=f"time to stop during prefill of {tokens:,} tokens",
            measured=f"{worst_prompt * 1000:.0f} ms maximum, {statistics.median(in_prompt) * 1000:.0f} ms median of {RUNS}",
            baseline=f"without a stop, the prompt takes {whole:.1f} s",
            budget="≤ 300 ms",
            holds=worst_prompt <= 0.3,
        ),
    ]


async def _stop_decode(session: Session, lane: Lane) -> float:
    session.new_conversation()
    session.send("Write a very long story about a lighthouse keeper.")
    while lane.state != "writing" or lane.last.meter is None or lane.last.meter.tokens < 20:
        await asyncio.sleep(0.001)
    return await _timed(session, lane)


async def _stop_prompt(session: Session, lane: Lane, number: int) -> float:
    session.new_conversation()
    session.send(f"Text {number}: {WORDS}")
    while lane.last.progress is None or not 0 < lane.last.progress.done < lane.last.progress.total:
        await asyncio.sleep(0.001)
    return await _timed(session, lane)


async def _whole_prompt(session: Session, lane: Lane) -> tuple[float, int]:
    session.new_conversation()
    begin = time.monotonic()
    session.send(f"Whole: {WORDS}")
    while lane.state != "writing":
        await asyncio.sleep(0.001)
    took = time.monotonic() - begin
    await lane.stop()
    await session.answered()
    run = lane.path[0]
    assert run.result.metrics is not None
    assert run.result.metrics.prompt_tokens is not None
    return took, run.result.metrics.prompt_tokens


async def _timed(session: Session, lane: Lane) -> float:
    begin = time.monotonic()
    await lane.stop()
    await session.answered()
    return time.monotonic() - begin
