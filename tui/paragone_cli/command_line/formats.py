"""How commands write names, durations, dates, metrics, tables of figures, and the problems of a config file."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paragone.network import GUARD
from paragone.texts import counted
from paragone_workbench.text import local_date

if TYPE_CHECKING:
    from paragone import Json
    from paragone_workbench.config.settings import ConfigProblem
    from paragone_workbench.runs.metrics import RunMetrics


_BAR = 30
"""Cells of a progress bar."""


def for_shell(spec: str) -> str:
    """Return an engine spec, quoted for a shell if it has special characters.

    A `~` needs no quotes: paragone expands a `~` that the shell did not expand.
    """
    plain = spec.replace("~", "")
    return spec if shlex.quote(plain) == plain else shlex.quote(spec)


def duration(seconds: float) -> str:
    """Return a duration as `M:SS` or `H:MM:SS`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_left(began: float, done: int, total: int) -> str:
    """Return the expected time for the rest of equal steps that began at this time of `time.monotonic`."""
    return duration((time.monotonic() - began) / done * (total - done))


def date(seconds: float) -> str:
    """Return a time, in seconds since 1970, in local time to the minute; `?` if no date corresponds to the time."""
    return local_date(seconds, "%Y-%m-%d %H:%M")


def not_asked_text(backends: Sequence[str]) -> str:
    message = f"Servers on this machine were not asked for models ({', '.join(backends)})."
    if GUARD.is_offline:
        return f"{message} paragone is offline."
    return f"{message} `paragone engines models {backends[0]}` asks them; `local_servers = true` under [network] asks them always."


def to_continue(*, fresh: bool) -> str:
    """Return the message that names the command which continues unfinished work.

    `fresh` is whether this command has --fresh, which would begin anew.
    """
    return f"To continue, run the same command again{', without --fresh' if fresh else ''}."


def bar(done: int, total: int) -> str:
    filled = _BAR * done // total
    return "█" * filled + "░" * (_BAR - filled)


def metrics_text(metrics: RunMetrics) -> str:
    """Return the metrics of a run in one line, without the unknown metrics."""
    parts = metrics.speed_parts
    if metrics.ttft_s is not None:
        parts.append(f"first token after {metrics.ttft_s:.2f} s")
    if metrics.thinking_tokens and metrics.thinking_s is not None:
        parts.append(f"thinking {counted(metrics.thinking_tokens, 'token')} in {metrics.thinking_s:.1f} s")
    if metrics.itl_ms.p50 is not None and metrics.itl_ms.p99 is not None:
        parts.append(
            f"between tokens {metrics.itl_ms.p50:.1f} ms (median), {metrics.itl_ms.p99:.1f} ms (p99)"
        )
    if metrics.prompt_tokens is not None:
        rate = "" if metrics.prefill_tps is None else f" at {metrics.prefill_tps:.0f} tokens/s"
        parts.append(f"prompt {counted(metrics.prompt_tokens, 'token')}{rate}")
    if metrics.load_s is not None:
        parts.append(f"loaded in {metrics.load_s:.1f} s")
    return " · ".join(parts)


def problems_json(file: Path, problems: Iterable[ConfigProblem], permission_warning: str) -> dict[str, Json]:
    """Return the JSON of a config file: its path, whether it exists, and its problems."""
    return {
        "file": str(file),
        "exists": file.exists(),
        "problems": [{**dataclasses.asdict(problem), "file": str(problem.file)} for problem in problems],
        "warnings": [permission_warning] if permission_warning else [],
    }
