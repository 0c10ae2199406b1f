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

_TAKEN_BY = {
    **dict.fromkeys(
        ("engines", "settings", "repetitions", "system", "preset", "fresh", "retry_failed", "filter", "skip_invalid"),
        ("run", "export"),
    ),
    "schedule": ("run",),
    "junit": ("run",),
    "on": ("run",),
    "to": ("export",),
    "force": ("export", "new"),
    "source": ("new",),
    "margin": ("compare",),
    "failed": ("show",),
}  # fmt: skip
"""Maps the field of an option to the actions that take the option."""


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
        "run, new: the file; export: the file, or an experiment; import: an experiment, then files of results; others: "
        "experiments such as e3",
        nargs="*",
    )
    source: str | None = option("--from ID", "new: the conversation, such as c7")
    engines: Sequence[str] = repeated(
        "--engines ENGINE", f"run and export: {ENGINE}", nargs="+", action="extend"
    )
    repetitions: int | None = option(
        "--repeat N",
        "run: number of runs of each prompt on each engine; default: 1",
        type=whole_number(1, 1000),
    )
    schedule: Mode | None = schedule_option(
        "run: ", default="swap; `sequential` lets their speeds be compared"
    )
    filter: str | None = option("--filter TEXT", "run: only the prompts that contain this text, or tag:NAME")
    retry_failed: bool = switch("--retry-failed", "run: run failed runs again; old results stay until then")
    fresh: bool = switch("--fresh", "run: ask all prompts again, even if earlier experiments asked the same")
    skip_invalid: bool = switch("--skip-invalid", "run: leave out prompts with mistakes in the file")
    on: str | None = option(
        "--on CLUSTER",
        "run: execute the runs on a Ray cluster: `ray` for the cluster of this machine, or HOST:PORT of its head",
    )
    junit: Path | None = option("--junit FILE", "run: write the results to FILE as JUnit XML", type=Path)
    margin: float | None = option(
        "--margin POINTS",
        "compare: the largest loss of the pass rate with which an engine is still not worse than another; default: 3 points",
        type=number(0.1, 99.0),
    )
    to: Path | None = option(
        "--to FILE",
        "export: the batch file, such as batch.jsonl; of several engines, each gets a file with its name",
        type=Path,
    )
    force: bool = force_switch("export and new: ")
    failed: bool = switch("--failed", "show: only runs that failed, or that an assertion did not pass")


@command(SuiteArguments)
def suite(args: SuiteArguments) -> int:
    """Execute the action that the command line names: a function in a module of the same name, which is imported now."""
    refuse_untaken(args, "suite", args.action, _TAKEN_BY)
    module = importlib.import_module(f"{__name__}.suite_{args.action}")
    action: Callable[[SuiteArguments], int] = getattr(module, f"suite_{args.action}")
    return action(args)
