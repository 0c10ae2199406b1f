"""The JSON of the problems in a config file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from paragone import Json
from paragone_workbench.config.settings import ConfigProblem

__all__ = ["problems_json"]


def problems_json(file: Path, problems: Iterable[ConfigProblem], permission_warning: str) -> dict[str, Json]:
    """Return the JSON of a config file: whether it exists, and what is wrong with it."""
    return {
        "file": str(file),
        "exists": file.exists(),
        "problems": [{**dataclasses.asdict(it), "file": str(it.file)} for it in problems],
        "warnings": [permission_warning] if permission_warning else [],
    }
