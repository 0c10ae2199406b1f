"""Writes a report into a file, in the format of its suffix."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

from paragone import InputError
from paragone_workbench.experiments.output_file import check_target, replacing

ReportFormat: TypeAlias = Literal["html", "md", "csv", "json"]
"""The suffixes of reports' file names."""


def format_of(path: Path, *, replaces: bool = False) -> ReportFormat:
    """Return the format of a file by its suffix. Raises InputError for an unknown suffix, or if the file cannot be written.

    `replaces` says that an existing file may be replaced.
    """
    check_target(path, replaces=replaces)
    match path.suffix[1:].lower():
        case "html" | "md" | "csv" | "json" as found:
            return found
    raise InputError(
        f"The format of {path} is unknown: the name must end in .html, .md, .csv or .json.",
        hint="For a page to read in a browser, write --to report.html.",
    )


def write(path: Path, pieces: Iterable[str]) -> int:
    """Write the pieces into a file, replacing an existing one, and return the file's size in bytes. Raises ParagoneError."""
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece)
    return path.stat().st_size
