"""`paragone choose`: measures engines, and says which one to deploy."""

from __future__ import annotations

import argparse
import re
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

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_LONGEST_S = 30 * 24 * 3600


def _seconds(text: str) -> int:
    """Return a duration such as 90s, 30m or 2h in seconds."""
    found = re.fullmatch(r"([0-9]{1,7})([smh]?)", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError("it is no duration, such as 90s, 30m or 2h")
    return seconds


@dataclass(frozen=True, kw_only=True)
class ChooseArguments(RunArguments, PrintArguments):
    """The engines in question, and what decides."""

    engines: Sequence[str] = word("ENGINE", ENGINE, nargs="+")
    reference: str | None = option(
        "--reference ENGINE",
        "the engine whose quality is wanted, one of the named ones; by default the one with the largest file",
    )
    suite: Path | None = option(
        "--suite FILE",
        "prompts with assertions; by default a small suite that comes with paragone",
        type=Path,
    )
    margin: float = option(
        "--margin POINTS",
        "the loss of the pass rate up to which an engine counts as not worse; by default 3 points",
        type=number(0.1, 99.0),
        default=3.0,
    )
    time: int | None = option(
        "--time DURATION",
        "the time for all measurements, such as 30m; by default as long as they take",
        type=_seconds,
    )
    fresh: bool = switch("--fresh", "measure everything again")


@command(ChooseArguments)
def choose(args: ChooseArguments) -> int:
    """Measure the engines, and print the decision."""
    if len(set(args.engines)) < 2:
        raise InputError(
            "One engine leaves nothing to choose.", hint="Name two or more: paragone choose ENGINE ENGINE…"
        )
    from paragone_cli.measuring.choose.choose_run import choose_run  # loads the suites and the history

    return choose_run(args)
