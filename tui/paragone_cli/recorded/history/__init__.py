"""`paragone history`: the conversations of the history, and files with conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone_cli.command_line.arguments import PrintArguments, command, option, switch, whole_number, word

_ACTIONS = ("list", "show", "search", "rename", "continue", "delete", "export", "import")


@dataclass(frozen=True, kw_only=True)
class HistoryArguments(PrintArguments):
    """The action and its options."""

    words: Sequence[str] = word(
        "ACTION|ID",
        "a conversation (c7), which is shown, or an action and what it needs: list; show ID; search TEXT; rename ID TITLE; "
        "continue RUN; "
        "delete ID…; export ID… --to FILE; import FILE. Without any, the newest conversations are listed",
        nargs="*",
    )
    limit: int = option(
        "--limit N",
        "list, search: number of conversations or matches; by default 20",
        type=whole_number(1, 1_000_000),
        default=20,
    )
    all: bool = switch("--all", "export: all conversations")
    yes: bool = switch("--yes", "delete: without confirmation")
    to: Path | None = option(
        "--to FILE",
        "export: the file; its name ends in .json (everything; `paragone history import` reads it) or .md (to read). "
        "An earlier file of this name is replaced",
        type=Path,
    )

    @property
    def action(self) -> str:
        """What is to be done."""
        if not self.words:
            return "list"
        return self.words[0] if self.words[0] in _ACTIONS else "show"

    @property
    def operands(self) -> Sequence[str]:
        """The words after the action."""
        return self.words[1:] if self.words and self.words[0] in _ACTIONS else self.words

    def only_word(self, wanted: str) -> str:
        """Return the only word after the action. Raises InputError that says what is wanted."""
        if len(self.operands) != 1:
            raise InputError(f"`paragone history {self.action}` takes one thing: {wanted}.")
        return self.operands[0]


@command(HistoryArguments)
def history(args: HistoryArguments) -> int:
    """Do what the action says. The modules of other actions are not imported."""
    if args.action != "export" and (args.all or args.to is not None):
        raise InputError("Only `paragone history export` has the options --all and --to.")
    if args.action != "delete" and args.yes:
        raise InputError("Only `paragone history delete` has the option --yes.")
    if args.json and args.action in ("rename", "delete", "export"):
        raise InputError(f"`paragone history {args.action}` prints no JSON.")
    match args.action:
        case "list":
            from paragone_cli.recorded.history.history_list import history_list

            if args.operands:
                raise InputError("`paragone history list` takes no arguments.")
            return history_list(args)
        case "show":
            from paragone_cli.recorded.history.history_list import history_show

            return history_show(args)
        case "search":
            from paragone_cli.recorded.history.history_search import history_search

            return history_search(args)
        case "rename":
            from paragone_cli.recorded.history.history_rename import history_rename

            return history_rename(args)
        case "continue":
            from paragone_cli.recorded.history.history_continue import history_continue

            return history_continue(args)
        case "delete":
            from paragone_cli.recorded.history.history_delete import history_delete

            return history_delete(args)
        case "export":
            from paragone_cli.recorded.history.history_export import history_export

            return history_export(args)
        case _:
            from paragone_cli.recorded.history.history_import import history_import

            return history_import(args)
