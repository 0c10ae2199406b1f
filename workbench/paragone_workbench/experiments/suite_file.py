"""Reads suites from files: JSONL, CSV and TOML."""

from __future__ import annotations

from pathlib import Path

from paragone_workbench.experiments.assertions import AssertionCatalog
from paragone_workbench.experiments.suite import Suite

__all__ = ["read_suite"]


def read_suite(path: Path, catalog: AssertionCatalog, *, system: str = "") -> Suite:
    """Read a suite file, whose format is that of its ending: .jsonl, .csv or .toml.

    `system` is the system prompt of the prompts for which the file has none. Prompts with a problem are
    left out; the suite has the problems. Raises InputError if the file cannot be read, is not UTF-8 text,
    or has no usable prompt.
    """
    raise NotImplementedError
