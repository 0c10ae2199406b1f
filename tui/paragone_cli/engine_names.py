"""Engine names in tables: short ones that keep what distinguishes them, and the full names below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from paragone_cli.output import one_line, put

__all__ = ["put_full_names", "short_names"]


def short_names(names: Iterable[str]) -> Mapping[str, str]:
    """Return a short name for each name: of 20 cells at most, or the name itself if short ones were ambiguous."""
    from paragone_tui.terminal.short_names import (
        shortened,
        shortest,
    )  # loads rich, which other commands do without

    full = {name: one_line(name) for name in names}
    everyone = tuple(full.values())
    short = {name: shortened(line, everyone, shortest(line, everyone)) for name, line in full.items()}
    return short if len(set(short.values())) == len(short) else full


def put_full_names(short: Mapping[str, str]) -> None:
    """Print the full name of each name that was shortened. Raises OutputError."""
    cut = {name: shown for name, shown in short.items() if shown != one_line(name)}
    if not cut:
        return
    put()
    for name, shown in cut.items():
        put(f"{shown}: {one_line(name)}")
