"""The cost of a suite of very many runs, without its engines: `python -m bench.scale [RUNS…]`, by default 20,000 and 100,000.

For each number of runs, this program writes a history as merging the shards of a cluster does, and then measures commands
that read the history. The runs are those of eight engines and RUNS / 8 prompts. No model generates the answers: a test
double answers once, and every run is a copy of that answer with its own id, text, figures and verdict, drawn with a fixed
seed. The texts are as long as answers in a chat, so the history has a realistic size.
"""

import asyncio
import dataclasses
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.instant_engine import InstantRegistry
from bench.programs import environment, paragone
from paragone import Json, Message
from paragone.wire import to_json
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
from paragone_workbench.ids import new_id
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.store import Experiment, History, RunKey
from paragone_workbench.store.experiments import AssertionResult
from paragone_workbench.workbench import Workbench

ENGINES = tuple(EngineDefinition(name=f"engine-{n}", backend="instant", model=f"model-{n}") for n in range(8))
DEFAULT = (20_000, 100_000)
SHARD = 200
"""Number of runs that are merged in one step."""
WORDS = (
    "the keeper",
    "lights",
    "a lamp",
    "while",
    "ships",
    "pass by",
    "at night",
    "and waits for",
    "morning",
)
_MERGE = "from bench.scale import merge; merge({runs})"
_RESUME = "from bench.scale import resume; resume({runs})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The time and the memory that a process took."""

    wall_s: float
    cpu_s: float
    memory: int
    """Largest resident memory, in bytes."""


def main(sizes: Sequence[int]) -> None:
    """Measure each size in a folder of its own, and print a table."""
    print("| runs | step | s | ms of CPU a run | peak MiB | written |\n| --- | --- | --- | --- | --- | --- |")
    for runs in sizes:
        with tempfile.TemporaryDirectory() as home:
            for name, command, target in _steps(runs, Path(home)):
                cost = _cost(command, environment(home))
                size = _size(target)
                print(
                    f"| {runs:,} | {name} | {cost.wall_s:.1f} | {1000 * cost.cpu_s / runs:.3f}"
                    f" | {cost.memory / 2**20:.0f} | {size / 2**20:.1f} MiB, {size / runs:,.0f} bytes a run |",
                    flush=True,
                )


def _steps(runs: int, home: Path) -> Iterator[tuple[str, list[str], Path]]:
    """Yield the name of each step, its command, and the path that it writes to."""
    yield "merge", [sys.executable, "-c", _MERGE.format(runs=runs)], home / "data" / "paragone"
    yield "resume", [sys.executable, "-c", _RESUME.format(runs=runs)], home / "data" / "paragone"
    compared, report = home / "compared.json", home / "report.html"
    yield "suite compare --json", paragone("suite", "compare", "e1", "--json"), compared
    yield "report", paragone("report", "e1", "--to", str(report)), report


def _cost(command: list[str], variables: dict[str, str]) -> Cost:
    began = time.monotonic()
    with (Path(variables["HOME"]) / "compared.json").open("wb") as out:
        process = subprocess.Popen(command, env=variables, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(wall_s=time.monotonic() - began, cpu_s=cpu, memory=usage.ru_maxrss * 1024)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def merge(runs: int) -> None:
    """Write the history of a complete experiment into the user's folder, in this process."""
    asyncio.run(_merge(_request(runs)))


def resume(runs: int) -> None:
    """Resume the experiment, which has no runs left, in this process."""
    asyncio.run(_resume(_request(runs)))


def _request(runs: int) -> SuiteRequest:
    prompts = tuple(map(_prompt, range(runs // len(ENGINES))))
    return SuiteRequest(suite=Suite(name="scale", prompts=prompts), engines=ENGINES)


async def _resume(request: SuiteRequest) -> None:
    registry = InstantRegistry()
    history = await History.open()
    experiment, resumed = await find_or_create(history, request, registry)
    assert resumed
    runner = SuiteRunner(history, experiment, request, registry, load_assertions())
    await runner.run()
    assert not any(progress.left for progress in runner.progress)
    await runner.close()
    await history.close()


async def _merge(request: SuiteRequest) -> None:
    registry = InstantRegistry()
    async with Workbench(registry) as workbench:
        engine = workbench.add(ENGINES[0])
        engine.open()
        pattern = await workbench.run(engine, RunSpec(messages=request.suite.prompts[0].messages))
    history = await History.open()
    experiment, _ = await find_or_create(history, request, registry)
    cells = _cells(pattern, experiment)
    while shard := list(itertools.islice(cells, SHARD)):
        await _save(history, experiment.number, shard)
    await history.close()


async def _save(history: History, number: int, shard: Sequence[tuple[RunKey, RunResult, list[Json]]]) -> None:
    await history.call(lambda store: [store.experiments.save(number, *run) for run in shard])


def _cells(pattern: RunResult, experiment: Experiment) -> Iterator[tuple[RunKey, RunResult, list[Json]]]:
    """Yield all runs, prompt by prompt. Later engines pass more often and are slower."""
    chance = random.Random(21)
    for prompt, engine in itertools.product(range(experiment.prompts), range(len(ENGINES))):
        words = max(1, int(chance.lognormvariate(4, 0.8)))
        started = experiment.created + prompt + engine / len(ENGINES)
        passed = chance.random() < 0.5 + 0.04 * engine
        metrics = RunMetrics(
            ttft_s=chance.lognormvariate(-2, 0.3),
            decode_tps=chance.gauss(60 - engine, 3),
            prompt_tokens=20,
            cached_tokens=0,
            completion_tokens=words,
            pieces=words,
            shared=False,
        )
        result = dataclasses.replace(
            pattern,
            id=new_id(),
            definition=ENGINES[engine],
            started=started,
            ended=started + 0.1,
            text=" ".join(chance.choices(WORDS, k=words)),
            metrics=metrics,
        )
        verdict = AssertionResult(
            index=0, type="contains", passed=passed, reason="The text has it." if passed else "It lacks it."
        )
        yield RunKey(prompt, engine, 0), result, [to_json(verdict)]


def _prompt(number: int) -> SuitePrompt:
    return SuitePrompt(
        index=number,
        line=number + 1,
        messages=(Message(role="user", text=f"Question {number}: why does the keeper light the lamp?"),),
        assertions=(AssertionSpec(type="contains", options={"value": "keeper"}),),
        tags=("even" if number % 2 else "odd",),
    )


if __name__ == "__main__":
    main([int(argument.replace(",", "").replace("_", "")) for argument in sys.argv[1:]] or DEFAULT)
