"""`paragone history`: the conversations of the history, and files with conversations."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone_cli.command_line.arguments import (
    PrintArguments,
    command,
    force_switch,
    option,
    refuse_untaken,
    repeated,
    switch,
    whole_number,
    word,
)

_MODULES = {
    "list": "history_list",
    "show": "history_list",
    "search": "history_search",
    "rename": "history_label",
    "continue": "history_continue",
    "tag": "history_label",
    "pin": "history_label",
    "unpin": "history_label",
    "delete": "history_delete",
    "export": "history_export",
    "import": "history_import",
    "costs": "history_costs",
}
"""Maps an action to its module, which has the function `history_ACTION`."""

_LIMIT = 20


@dataclass(frozen=True, kw_only=True)
class HistoryArguments(PrintArguments):
    """The action and its options."""

    words: Sequence[str] = word(
        "ACTION|ID",
        "a conversation (c7), which is shown, or an action and its arguments: list [FILTER…]; show ID; search TEXT; "
        "rename ID TITLE; continue RUN; tag ID [TAG…], which replaces its tags; pin ID; unpin ID; delete ID…; export ID… --to FILE; import FILE, or e3/17 for "
        "the prompt of that answer; costs, which adds up tokens and time. Without arguments, the newest conversations are listed",
        nargs="*",
    )
    limit: int | None = option(
        "--limit N",
        f"number of conversations or matches; by default {_LIMIT}",
        actions=("list", "search"),
        type=whole_number(1, 1_000_000),
    )
    all: bool = switch("--all", "all conversations", actions=("export",))
    yes: bool = switch("--yes", "without confirmation", actions=("delete",))
    to: Path | None = option(
        "--to FILE",
        "the file; its name ends in .json (everything; `paragone history import` reads it) or .md (to read)",
        actions=("export",),
        type=Path,
    )
    force: bool = force_switch("export")
    since: str | None = option(
        "--since TIME",
        "only runs since a date (2026-11-01), or of the last days or hours (7d, 24h)",
        actions=("costs",),
    )
    price: Sequence[str] = repeated(
        "--price PROVIDER:MODEL",
        "the model of a provider whose prices are shown; may be repeated. By default a small open model and a large one",
        actions=("costs",),
    )

    @property
    def most(self) -> int:
        """Largest number of conversations or matches that are printed."""
        return self.limit or _LIMIT

    @property
    def action(self) -> str:
        """The action: the first word, or by default `list` or `show`."""
        if not self.words:
            return "list"
        return self.words[0] if self.words[0] in _MODULES else "show"

    @property
    def operands(self) -> Sequence[str]:
        """The words after the action."""
        return self.words[1:] if self.words and self.words[0] in _MODULES else self.words

    def only_word(self, wanted: str) -> str:
        """Return the only word after the action. Raises InputError with `wanted` if there is no word or more than one."""
        if len(self.operands) != 1:
            raise InputError(f"`paragone history {self.action}` takes one thing: {wanted}.")
        return self.operands[0]


@command(HistoryArguments)
def history(args: HistoryArguments) -> int:
    """Execute the action that the command line names, and import only the module of this action."""
    refuse_untaken(args, "history", args.action)
    module = importlib.import_module(f"{__name__}.{_MODULES[args.action]}")
    action: Callable[[HistoryArguments], int] = getattr(module, f"history_{args.action}")
    return action(args)
