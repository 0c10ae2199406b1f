"""`paragone options`: lists the options of a backend's engines."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator

from paragone import Json
from paragone.options import OptionInfo, Options, describe, value_text
from paragone_cli.command_line.arguments import PrintArguments, command, word
from paragone_cli.command_line.output import note, one_line, put, put_json, put_line, terminal_width
from paragone_workbench.engines.context_options import ContextOptions
from paragone_workbench.engines.registry import Registry

_WIDEST = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptionsArguments(PrintArguments):
    """The backend whose options are listed."""

    backend: str = word("BACKEND", "the backend's name; `paragone doctor` lists the backends")


@command(OptionsArguments)
def options(args: OptionsArguments) -> int:
    """Print the options."""
    backend = Registry(note).get(args.backend)
    if args.json:
        found = {
            "load": _json(backend.load_options),
            "sampling": _json(backend.sampling),
            "context": _json(ContextOptions),
        }
        put_json({"backend": backend.name, **found})
        return 0
    put_line(f"Options of {backend.title}, for [engines.NAME] in config.toml or --set KEY=VALUE")
    for heading, kind in (
        ("Load options, which take effect when a model is opened", backend.load_options),
        ("Sampling options, which take effect with each prompt", backend.sampling),
        ("Options of every engine, which take effect with each prompt", ContextOptions),
    ):
        if infos := describe(kind):
            put(f"\n{heading}")
        for info in infos:
            put("\n".join(_describe(info)))
    return 0


def _describe(info: OptionInfo) -> Iterator[str]:
    default = f", default {value_text(info.default)}" if info.default not in (None, []) else ""
    yield one_line(f"  {info.name}: {info.accepted}{default}")
    width = min(terminal_width(), _WIDEST)
    yield from textwrap.wrap(
        one_line(info.doc),
        max(width, 40),
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_on_hyphens=False,  # names such as llama-server and --no-kv-offload stay whole
    )


def _json(kind: type[Options]) -> list[Json]:
    return [{**dataclasses.asdict(info), "choices": list(info.choices)} for info in describe(kind)]
