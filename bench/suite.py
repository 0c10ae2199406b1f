"""The cost of a suite without its engines: time per run, and memory over many runs."""

import asyncio
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.instant_engine import InstantRegistry
from bench.row import Row
from paragone import Message
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import (
    AssertionSpec,
    Suite,
    SuitePrompt,
    SuiteRequest,
    find_or_create,
)
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.store import History
from paragone_workbench.workbench import Workbench

__all__ = ["suite"]

PROMPTS = 10_000
FEW = 500
ENGINES = tuple(EngineDefinition(name=name, backend="instant", model=name) for name in ("one", "other"))
_SCRIPT = "from bench.suite import measured; measured({prompts}, suite={suite})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    wall_s: float
    cpu_s: float
    """CPU time of all threads, in seconds."""
    memory: int
    """Largest resident memory of the process so far, in bytes."""


def suite() -> list[Row]:
    """Measure suites of two sizes and the same runs without a suite, each in a process of its own."""
    runs, few = PROMPTS * len(ENGINES), FEW * len(ENGINES)
    bare = _in_a_process(PROMPTS, suite=False)
    small, large = _in_a_process(FEW, suite=True), _in_a_process(PROMPTS, suite=True)
    wall, cpu = (large.wall_s - bare.wall_s) / runs, (large.cpu_s - bare.cpu_s) / runs
    file = large.memory - small.memory
    return [
        Row(
            figure=f"suite of {runs:,} runs with an assertion: overhead of a run",
            measured=f"{wall * 1000:.2f} ms, {cpu * 1000:.2f} ms of CPU time",
            baseline=f"the same runs by `Workbench.run`: {bare.wall_s / runs * 1000:.2f} ms, "
            f"{bare.cpu_s / runs * 1000:.2f} ms of CPU time",
            budget="≤ 2 ms",
            holds=wall <= 0.002,
        ),
        Row(
            figure=f"memory after {runs:,} runs of a suite",
            measured=f"{large.memory / 2**20:.0f} MiB",
            baseline=f"after {few:,} runs {small.memory / 2**20:.0f} MiB",
            budget=f"≤ {_PROMPT_BYTES / 1000:g} kB more for each prompt, which is the content of the file",
            holds=file <= (PROMPTS - FEW) * _PROMPT_BYTES,
        ),
    ]


_PROMPT_BYTES = 3_000


def _in_a_process(prompts: int, *, suite: bool) -> _Cost:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(prompts=prompts, suite=suite), folder],
            check=True,
            capture_output=True,
            text=True,
        )
    wall, cpu, memory = done.stdout.split()
    return _Cost(wall_s=float(wall), cpu_s=float(cpu), memory=int(memory))


def measured(prompts: int, *, suite: bool) -> None:
    """Execute runs in this process, and print their cost. The last argument of the process is the history's folder."""
    import resource

    made = Suite(name="bench", prompts=tuple(map(_prompt, range(prompts))))
    wall, cpu = time.monotonic(), time.process_time()
    asyncio.run(_suite(made, Path(sys.argv[-1])) if suite else _bare(made))
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    print(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _prompt(number: int) -> SuitePrompt:
    text = f"Question {number}: why does the keeper light the lamp?"
    return SuitePrompt(
        index=number,
        line=number + 1,
        messages=(Message(role="user", text=text),),
        assertions=(AssertionSpec(type="contains", options={"value": "answer"}),),
    )


async def _suite(made: Suite, folder: Path) -> None:
    history = await History.open(folder / "history.db")
    request = SuiteRequest(suite=made, engines=ENGINES)
    registry = InstantRegistry()
    experiment, _ = await find_or_create(history, request, registry)
    runner = SuiteRunner(history, experiment, request, registry, load_assertions())
    await runner.run()
    await runner.close()
    await history.close()
    if sum(engine.done for engine in runner.progress) != len(made.prompts) * len(ENGINES):
        raise RuntimeError(f"The suite did not finish: {runner.failure or runner.given_up}")


async def _bare(made: Suite) -> None:
    """Execute the same runs without a suite, one engine after the other."""
    async with Workbench(InstantRegistry()) as workbench:
        for definition in ENGINES:
            engine = workbench.add(definition)
            engine.open()
            await engine.opened()
            for prompt in made.prompts:
                await workbench.run(engine, RunSpec(messages=prompt.messages)).ended()
