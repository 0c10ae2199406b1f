"""`paragone history`: the conversations of the history, and files with conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone_cli.command_line.arguments import (
    PrintArguments,
    command,
    force_switch,
    option,
    refuse_untaken,
    switch,
    whole_number,
    word,
)

_ACTIONS = (
    "list",
    "show",
    "search",
    "rename",
    "continue",
    "tag",
    "pin",
    "unpin",
    "duplicate",
    "delete",
    "export",
    "import",
)

_TAKEN_BY = {
    "limit": ("list", "search"),
    "all": ("export",),
    "to": ("export",),
    "force": ("export",),
    "yes": ("delete",),
}
"""Maps the field of an option to the actions that take the option."""

_LIMIT = 20


@dataclass(frozen=True, kw_only=True)
class HistoryArguments(PrintArguments):
    """The action and its options."""

    words: Sequence[str] = word(
        "ACTION|ID",
        "a conversation (c7), which is shown, or an action and its arguments: list [FILTER…]; show ID; search TEXT; "
        "rename ID TITLE; continue RUN; tag ID [TAG…], which replaces its tags; pin ID; unpin ID; duplicate ID; delete ID…; export ID… --to FILE; import FILE, or e3/17 for "
        "the prompt of that answer. Without arguments, the newest conversations are listed",
        nargs="*",
    )
    limit: int | None = option(
        "--limit N",
        f"list, search: number of conversations or matches; by default {_LIMIT}",
        type=whole_number(1, 1_000_000),
    )
    all: bool = switch("--all", "export: all conversations")
    yes: bool = switch("--yes", "delete: without confirmation")
    to: Path | None = option(
        "--to FILE",
        "export: the file; its name ends in .json (everything; `paragone history import` reads it) or .md (to read)",
        type=Path,
    )
    force: bool = force_switch("export: ")

    @property
    def most(self) -> int:
        """Largest number of conversations or matches that are printed."""
        return self.limit or _LIMIT

    @property
    def action(self) -> str:
        """The action: the first word, or by default `list` or `show`."""
        if not self.words:
            return "list"
        return self.words[0] if self.words[0] in _ACTIONS else "show"

    @property
    def operands(self) -> Sequence[str]:
        """The words after the action."""
        return self.words[1:] if self.words and self.words[0] in _ACTIONS else self.words

    def only_word(self, wanted: str) -> str:
        """Return the only word after the action. Raises InputError with `wanted` if there is no word or more than one."""
        if len(self.operands) != 1:
            raise InputError(f"`paragone history {self.action}` takes one thing: {wanted}.")
        return self.operands[0]


@command(HistoryArguments)
def history(args: HistoryArguments) -> int:
    """Execute the action that the command line names. The modules of other actions are not imported."""
    refuse_untaken(args, "history", args.action, _TAKEN_BY)
    match args.action:
        case "list":
            from paragone_cli.recorded.history.history_list import history_list

            return history_list(args)
        case "show":
            from paragone_cli.recorded.history.history_list import history_show

            return history_show(args)
        case "search":
            from paragone_cli.recorded.history.history_search import history_search

            return history_search(args)
        case "rename":
            from paragone_cli.recorded.history.history_label import history_rename

            return history_rename(args)
        case "continue":
            from paragone_cli.recorded.history.history_continue import history_continue

            return history_continue(args)
        case "tag":
            from paragone_cli.recorded.history.history_label import history_tag

            return history_tag(args)
        case "pin" | "unpin":
            from paragone_cli.recorded.history.history_label import history_pin

            return history_pin(args)
        case "duplicate":
            from paragone_cli.recorded.history.history_label import history_duplicate

            return history_duplicate(args)
        case "delete":
            from paragone_cli.recorded.history.history_delete import history_delete

            return history_delete(args)
        case "export":
            from paragone_cli.recorded.history.history_export import history_export

            return history_export(args)
        case _:
            from paragone_cli.recorded.history.history_import import history_import

            return history_import(args)
