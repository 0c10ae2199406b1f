"""`paragone suite`: runs prompts from a file on several engines, and shows the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone_cli.command_line.arguments import (
    ENGINE,
    PrintArguments,
    RunArguments,
    command,
    number,
    option,
    repeated,
    schedule_option,
    switch,
    whole_number,
    word,
)
from paragone_workbench.config.settings import Mode

_RUN_OPTIONS = (
    "engines", "settings", "repetitions", "schedule", "system", "preset", "fresh", "retry_failed", "filter", "junit", "skip_invalid",
)  # fmt: skip
"""The fields that only `run` has."""


@dataclass(frozen=True, kw_only=True)
class SuiteArguments(RunArguments, PrintArguments):
    """The action and its options."""

    action: str = word(
        "ACTION",
        "run: run the prompts in FILE, or go on where an earlier run of the same command ended; list: list "
        "the experiments; show: show the results of one; compare: compare the engines of one or more",
        choices=("run", "list", "show", "compare"),
    )
    names: Sequence[str] = word("FILE|EXPERIMENT", "run: the file; others: experiments such as e3", nargs="*")
    engines: Sequence[str] = repeated("--engines ENGINE", f"run: {ENGINE}", nargs="+", action="extend")
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
    fresh: bool = switch("--fresh", "run: begin anew, even if the same command was run before")
    skip_invalid: bool = switch("--skip-invalid", "run: leave out prompts with mistakes in the file")
    junit: Path | None = option("--junit FILE", "run: write the results to FILE as JUnit XML", type=Path)
    margin: float | None = option(
        "--margin POINTS",
        "compare: the loss of the pass rate up to which an engine counts as not worse than another; default: 3 points",
        type=number(0.1, 99.0),
    )
    failed: bool = switch("--failed", "show: only runs that failed, or that an assertion did not pass")


@command(SuiteArguments)
def suite(args: SuiteArguments) -> int:
    """Run, list, show or compare. The modules of one action are imported for it only."""
    if args.action != "run" and any(getattr(args, name) not in (None, False, ()) for name in _RUN_OPTIONS):
        raise InputError(f"`paragone suite {args.action}` does not take the options of `run`.")
    if args.margin is not None and args.action != "compare":
        raise InputError("Only `paragone suite compare` has the option --margin.")
    if args.failed and args.action != "show":
        raise InputError("Only `paragone suite show` has the option --failed.")
    match args.action:
        case "run":
            from paragone_cli.experiments.suite.suite_run import suite_run

            return suite_run(args)
        case "list":
            from paragone_cli.experiments.suite.suite_list import suite_list

            return suite_list(args)
        case "show":
            from paragone_cli.experiments.suite.suite_show import suite_show

            return suite_show(args)
        case _:
            from paragone_cli.experiments.suite.suite_compare import suite_compare

            return suite_compare(args)
