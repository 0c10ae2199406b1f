"""`paragone suite`: runs prompts from a file on several engines, and shows what came of it."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.arguments import Arguments

__all__ = ["suite"]

_RUN_OPTIONS = (
    "engines", "settings", "repetitions", "schedule", "system", "fresh", "retry_failed", "filter", "junit", "skip_invalid",
)  # fmt: skip


def suite(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    if args.action != "run" and any(getattr(args, name) not in (None, False, []) for name in _RUN_OPTIONS):
        raise InputError(f"`paragone suite {args.action}` does not take the options of `run`.")
    if args.failed and args.action != "show":
        raise InputError("Only `paragone suite show` has the option --failed.")
    match args.action:
        case "run":
            from paragone_cli.suite_run import suite_run

            return suite_run(args)
        case "list":
            from paragone_cli.suite_list import suite_list

            return suite_list(args)
        case "show":
            from paragone_cli.suite_show import suite_show

            return suite_show(args)
        case _:
            from paragone_cli.suite_compare import suite_compare

            return suite_compare(args)
