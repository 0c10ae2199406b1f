"""`paragone suite`: runs prompts from a file on several engines, and shows what came of it."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.command_line.arguments import command
from paragone_cli.experiments.suite.suite_arguments import RUN_OPTIONS, SuiteArguments

__all__ = ["suite"]


@command(SuiteArguments)
def suite(args: SuiteArguments) -> int:
    """Run, list, show or compare. The modules of one action are imported for it only."""
    if args.action != "run" and any(getattr(args, name) not in (None, False, ()) for name in RUN_OPTIONS):
        raise InputError(f"`paragone suite {args.action}` does not take the options of `run`.")
    if args.failed and args.action != "show":
        raise InputError("Only `paragone suite show` has the option --failed.")
    match args.action:
        case "run":
            from paragone_cli.experiments.suite.suite_run import suite_run

            return suite_run(args)
        case "list":
            from paragone_cli.experiments.suite.suite_list import suite_list

            return suite_list(args)
        case "show":
            from paragone_cli.experiments.suite.suite_show import suite_show

            return suite_show(args)
        case _:
            from paragone_cli.experiments.suite.suite_compare import suite_compare

            return suite_compare(args)
