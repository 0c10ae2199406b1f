"""`paragone options`: what an engine of a backend can be set to."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Iterator

from paragone import Json
from paragone.options import OptionInfo, Options, describe
from paragone_cli.arguments import Arguments
from paragone_cli.output import one_line, put, put_json
from paragone_workbench.engines.registry import Registry

__all__ = ["options"]

_WIDEST = 100


def options(args: Arguments) -> int:
    """List a backend's options. Returns the exit code."""
    backend = Registry().get(args.backend or "")
    if args.json:
        put_json(
            {
                "backend": backend.name,
                "load": _json(backend.load_options),
                "sampling": _json(backend.sampling),
            }
        )
        return 0
    put(one_line(f"Options of {backend.title}: under [engines.NAME] in config.toml, or with --set KEY=VALUE"))
    for heading, kind in (
        ("When a model is opened", backend.load_options),
        ("With each prompt", backend.sampling),
    ):
        if infos := describe(kind):
            put(f"\n{heading}")
        for info in infos:
            put("\n".join(_told(info)))
    return 0


def _told(info: OptionInfo) -> Iterator[str]:
    bounds = [f"from {info.minimum:g}"] if info.minimum is not None else []
    if info.maximum is not None:
        bounds.append(f"to {info.maximum:.10g}")
    usual = "" if info.default is None or info.default == [] else f", by default {_written(info.default)}"
    yield one_line(f"  {info.name}: {' '.join((info.kind, *bounds))}{usual}")
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    yield from textwrap.wrap(
        one_line(info.doc), max(width, 40), initial_indent=" " * 6, subsequent_indent=" " * 6
    )


def _written(value: Json) -> str:
    """Return a value as config.toml has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(kind: type[Options]) -> list[Json]:
    return [{**dataclasses.asdict(info), "choices": list(info.choices)} for info in describe(kind)]
