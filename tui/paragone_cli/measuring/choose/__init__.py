"""`paragone choose`: measures engines, and says which one to deploy."""

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
    switch,
    word,
)


@dataclass(frozen=True, kw_only=True)
class ChooseArguments(RunArguments, PrintArguments):
    """The engines to choose from, and the criteria."""

    engines: Sequence[str] = word("ENGINE", ENGINE, nargs="+")
    reference: str | None = option(
        "--reference ENGINE",
        "the engine among these with whose quality the others are compared; by default that with the largest file",
    )
    suite: Path | None = option(
        "--suite FILE",
        "prompts with assertions; by default a small suite that comes with paragone",
        type=Path,
    )
    margin: float = option(
        "--margin POINTS",
        "the largest loss of the pass rate with which an engine is still not worse; by default 3 points",
        type=number(0.1, 99.0),
        default=3.0,
    )
    vram: str | None = option(
        "--vram SIZE",
        "choose an engine for GPUs with this much free memory each, such as 24G, 24GB or 24G,24G; by default for this machine",
    )
    time: str | None = option(
        "--time DURATION",
        "the largest time for all measurements, such as 30m; by default as long as they take",
    )
    fresh: bool = switch("--fresh", "measure everything again")
    to: Path | None = option(
        "--to FILE",
        "also write a report; the name of the file ends in .html, .md, .csv or .json",
        type=Path,
    )
    force: bool = switch(
        "--force",
        "replace the file if it exists; without it, only an unchanged report of the same choice is replaced",
    )


@command(ChooseArguments)
def choose(args: ChooseArguments) -> int:
    """Measure the engines, and print the decision."""
    if len(set(args.engines)) < 2:
        raise InputError(
            "One engine leaves nothing to choose.", hint="Name two or more: paragone choose ENGINE ENGINE…"
        )
    from paragone_cli.measuring.choose.choose_run import choose_run  # loads the suites and the history

    return choose_run(args)
