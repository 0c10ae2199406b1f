"""The HTML format: one file that needs no other files, no scripts and no network."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.metadata import version

from paragone import InputError
from paragone.installation import install_command
from paragone_workbench.reporting.content import ReportContent
from paragone_workbench.reporting.public_text import date_text

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ModuleNotFoundError as error:
    if error.name != "jinja2":
        raise
    raise InputError(
        "Reports in HTML need the package jinja2, which is not installed.",
        hint=f"Install it with: {install_command('experiments')}",
    ) from error


def html_pieces(report: ReportContent, now: float) -> Iterator[str]:
    """Yield the page. `now` is the time of writing, in seconds since 1970."""
    template = _environment().get_template("report.html.j2")
    return template.generate(report=report, written=date_text(now), version=version("paragone"))


@functools.cache
def _environment() -> Environment:
    """Return the environment, which keeps the compiled template."""
    return Environment(
        loader=PackageLoader("paragone_workbench.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
