"""The command that is useful after a command, which a person at a terminal reads in the last line."""

import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from paragone_cli.command_line import formats, output
from paragone_cli.command_line.arguments import Arguments
from paragone_workbench.engines.definitions import EngineDefinition, expand_home

NEXT: Mapping[str, Sequence[str]] = {
    "ask": ("{engine}",),
    "compare": ("fidelity {pair} --free-running", "fidelity {engines}"),
    "suite run": ("suite show {unclean} --failed", "suite compare {compared}", "report {id} --to {id}.html"),
    "suite list": ("suite show {id}",),
    "suite show": ("suite compare {compared}", "report {id} --to {id}.html"),
    "suite compare": ("report {id} --to {id}.html",),
    "suite from-history": ("suite run {file} --engines {engines}",),
    "suite export": ("suite import RESULTS",),
    "suite import": ("suite compare {compared}", "suite show {id}"),
    "vote cast": ("vote ratings {id}",),
    "vote ratings": ("report {id} --to {id}.html",),
    "choose": ("report {id} --to {id}.html", "serve {chosen}"),
    "fidelity": ("choose {engines}",),
    "bench": ("choose {engines}", "fit {engine}"),
    "fit": ("fidelity {engines}", "bench {engine}"),
    "history list": ("history show {id}",),
    "history show": ("report {id} --to {id}.html",),
    "history search": ("history import {answer}", "history show {id}"),
    "history continue": ("history show {id}",),
    "history import": ("history show {id}",),
    "replay": ("suite show {experiment}", "history show {conversation}"),
    "engines list": ("compare {engines} --prompt 'Why is the sky blue?'", "{engine}", "engines models"),
    "engines models": ("{engines}", "demo"),
    "engines pull": ("{engine}",),
    "config path": ("config check",),
    "config check": ("engines",),
    "config init": ("config check",),
    "env create": ("env check {backend}",),
    "env check": ("engines models {backend}",),
    "doctor": ("engines models",),
}
"""The commands that follow each command: the first one whose facts are known is shown.

No command follows those that are missing here: they open a screen, print a script, or complete what was wanted."""


def next_command(command: str, facts: Mapping[str, str | Sequence[str]]) -> str:
    """Return the command line that is useful next; empty if a fact of each possible one is unknown."""
    for template in NEXT[command]:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        if all(facts.get(name) for name in fields):
            return f"paragone {template.format_map({name: _words(facts[name]) for name in fields})}"
    return ""


def _words(fact: str | Sequence[str]) -> str:
    return " ".join(map(formats.for_shell, [fact] if isinstance(fact, str) else fact))


def reference_first(texts: Sequence[str], definitions: Sequence[EngineDefinition]) -> Sequence[str]:
    """Return the texts of different engines, with the engine that has the largest file first if all models are files."""
    files = {text: Path(expand_home(engine.model)) for text, engine in zip(texts, definitions, strict=True)}
    if not all(path.is_file() for path in files.values()):
        return tuple(files)
    return sorted(files, key=lambda text: -files[text].stat().st_size)


def show_next(args: Arguments, command: str, **facts: str | Sequence[str]) -> None:
    """Print the next useful command on standard error if a person reads the output: at a terminal, and not JSON."""
    if vars(args).get("json") or not (sys.stderr.isatty() and output.standard_output().isatty()):
        return
    if found := next_command(command, facts):
        config = "" if args.config is None else f" --config {formats.for_shell(str(args.config))}"
        output.flush()
        output.hint(f"Next: {found}{config}")
