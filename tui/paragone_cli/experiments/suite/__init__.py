"""`paragone suite`: runs prompts from a file on several engines, and shows the results."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone_cli.command_line.arguments import (
    ENGINE,
    PrintArguments,
    RunArguments,
    command,
    force_switch,
    number,
    option,
    refuse_untaken,
    repeated,
    schedule_option,
    switch,
    whole_number,
    word,
)
from paragone_workbench.config.settings import Mode

_RUNNING = ("run", "export")
"""The actions that take the options of runs."""


@dataclass(frozen=True, kw_only=True)
class SuiteArguments(RunArguments, PrintArguments):
    """The action and its options."""

    action: str = word(
        "ACTION",
        "run: run the prompts in FILE, or go on where an earlier run of the same command ended; list: list "
        "the experiments; show: show the results of an experiment; compare: compare the engines of experiments; new: "
        "write a file with the prompts of a conversation; export: write unfinished runs into a batch file for another "
        "machine; import: import the results of a batch file",
        choices=("run", "list", "show", "compare", "new", "export", "import"),
    )
    names: Sequence[str] = word(
        "FILE|EXPERIMENT",
        "run, new, export: the file; import: an experiment, then files of results; others: experiments such as e3",
        nargs="*",
    )
    source: str | None = option("--from ID", "the conversation, such as c7", actions=("new",))
    engines: Sequence[str] = repeated(
        "--engines ENGINE", ENGINE, actions=_RUNNING, nargs="+", action="extend"
    )
    repetitions: int | None = option(
        "--repeat N",
        "number of runs of each prompt on each engine; default: 1",
        actions=_RUNNING,
        type=whole_number(1, 1000),
    )
    schedule: Mode | None = schedule_option("run", default="swap; `sequential` lets their speeds be compared")
    filter: str | None = option(
        "--filter TEXT", "only the prompts that contain this text, or tag:NAME", actions=_RUNNING
    )
    retry_failed: bool = switch(
        "--retry-failed", "include failed runs; their old results stay until then", actions=_RUNNING
    )
    fresh: bool = switch(
        "--fresh", "ask all prompts again, even if earlier experiments asked the same", actions=_RUNNING
    )
    skip_invalid: bool = switch(
        "--skip-invalid", "leave out prompts with mistakes in the file", actions=_RUNNING
    )
    on: str | None = option(
        "--on CLUSTER",
        "execute the runs on a Ray cluster: `ray` for the cluster of this machine, or HOST:PORT of its head",
        actions=("run",),
    )
    junit: Path | None = option(
        "--junit FILE", "write the results to FILE as JUnit XML", actions=("run",), type=Path
    )
    margin: float | None = option(
        "--margin POINTS",
        "the largest loss of the pass rate with which an engine is still not worse than another; default: 3 points",
        actions=("compare",),
        type=number(0.1, 99.0),
    )
    to: Path | None = option(
        "--to FILE",
        "the batch file, such as batch.jsonl; of several engines, each gets a file with its name",
        actions=("export",),
        type=Path,
    )
    force: bool = force_switch("export", "new")
    failed: bool = switch(
        "--failed", "only runs that failed, or that an assertion did not pass", actions=("show",)
    )


@command(SuiteArguments)
def suite(args: SuiteArguments) -> int:
    """Execute the action that the command line names: a function in a module of the same name, which is imported now."""
    refuse_untaken(args, "suite", args.action, settings=_RUNNING, system=_RUNNING, preset=_RUNNING)
    module = importlib.import_module(f"{__name__}.suite_{args.action}")
    action: Callable[[SuiteArguments], int] = getattr(module, f"suite_{args.action}")
    return action(args)
