"""`paragone suite show`: shows the results of an experiment, prompt by prompt."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator

from paragone import Json
from paragone.wording import counted
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.formats import date, short_names
from paragone_cli.command_line.output import (
    one_line,
    put,
    put_line,
    shortened,
    standard_output,
    terminal_width,
)
from paragone_cli.command_line.saved import one_experiment, opened_history
from paragone_cli.experiments.suite import SuiteArguments
from paragone_cli.experiments.suite.suite_output import put_runs, put_totals
from paragone_workbench.experiments.running.saved_runs import saved_runs
from paragone_workbench.experiments.running.totals import engine_totals
from paragone_workbench.experiments.suites.saved_prompts import saved_prompt
from paragone_workbench.store import Experiment, ExperimentRun, History

SHOWN = 20
"""Largest number of prompts that are shown on a terminal."""


def suite_show(args: SuiteArguments) -> int:
    """Print the results. Returns the exit code."""
    return run(
        _show(one_experiment(args.names, "paragone suite show"), failed=args.failed, as_json=args.json)
    )


async def _show(number: int, *, failed: bool, as_json: bool) -> int:
    async with opened_history() as history:
        experiment = await history.call(lambda store: store.experiments.get(number))
        totals = await engine_totals(history, experiment)
        runs = saved_runs(history, experiment)
        chosen = (saved async for saved in runs if not failed or not saved.is_clean)
        async with contextlib.aclosing(runs):
            if as_json:
                head: dict[str, Json] = {
                    "id": f"e{experiment.number}",
                    "name": experiment.name,
                    "schedule": experiment.schedule,
                    "prompts": experiment.prompts,
                    "repetitions": experiment.repetitions,
                    "created": experiment.created,
                    "engines": [engine.to_json() for engine in totals],
                }
                await put_runs(
                    head, ({"run": _run_id(experiment, saved), **saved.to_json()} async for saved in chosen)
                )
            else:
                put_line(
                    f"e{experiment.number} · {experiment.name} · {_size(experiment)} · {date(experiment.created)}"
                )
                put()
                put_totals(totals)
                await _put_prompts(history, experiment, chosen, failed=failed)
    return 0


def _size(experiment: Experiment) -> str:
    parts = [counted(experiment.prompts, "prompt"), counted(len(experiment.engines), "engine")]
    if experiment.repetitions > 1:
        parts.append(counted(experiment.repetitions, "repetition"))
    return " × ".join(parts)


async def _put_prompts(
    history: History, experiment: Experiment, runs: AsyncIterator[ExperimentRun], *, failed: bool
) -> None:
    """Print the runs below their prompts, a line each.

    On a terminal, only the runs of the first prompts are printed, and lines are cut at the terminal's width.
    """
    on_terminal = standard_output().isatty()
    width = terminal_width() if on_terminal else None
    names = short_names(engine.name for engine in experiment.engines)
    column = max(len(_name(name, experiment.repetitions - 1, experiment)) for name in names.values())
    shown, last, more = 0, None, False
    async for saved in runs:
        index = saved.key.prompt_index
        if index != last:
            if on_terminal and shown == SHOWN:
                more = True
                break
            shown, last = shown + 1, index
            read = functools.partial(saved_prompt, experiment_id=experiment.number, index=index)
            put("\n" + _cut(f"#{index} {(await history.call(read)).text}", width))
        engine = experiment.engines[saved.key.engine_index].name
        name = _name(names[engine], saved.key.repetition, experiment)
        put(_cut(f"  {name.ljust(column)}  {_run_id(experiment, saved)}  {_result(saved)}", width))
        for result in saved.checks:
            if result.passed is not True:
                sign = "✗" if result.passed is False else "?"
                put(_cut(f"  {' ' * column}  {sign} {result.type}: {result.reason}", width))
    if shown:
        put(f"\nWhole answers: --json · paragone report e{experiment.number} --to report.html")
    if more:
        options = " --failed" if failed else ""
        put(f"More: paragone suite show e{experiment.number}{options} | less")


def _name(engine: str, repetition: int, experiment: Experiment) -> str:
    return f"{engine} [{repetition}]" if experiment.repetitions > 1 else engine


def _result(saved: ExperimentRun) -> str:
    result = saved.result
    if result.error:
        return f"failed: {result.error}"
    passed = sum(check.passed is True for check in saved.checks)
    counted = f"[{passed}/{len(saved.checks)}] " if saved.checks else ""
    return f"{counted}{result.text.strip()}"


def _run_id(experiment: Experiment, saved: ExperimentRun) -> str:
    """Return the id of a run, as `paragone replay` accepts it."""
    return f"e{experiment.number}/{saved.number}"


def _cut(text: str, width: int | None) -> str:
    line = one_line(text)
    return line if width is None else shortened(line, width - 1)
