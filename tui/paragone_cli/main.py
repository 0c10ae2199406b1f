"""The program's entrance: a command line in, an exit code out, and never a traceback."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 128 + 2
"""As the shell has it for a program that SIGINT ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own, and return its exit code.

    0: done. 1: it failed. 2: what was asked for cannot be, and the user can mend it.
    """
    # Loading modules makes no garbage, and looking for some takes a seventh of a start. `begin_collecting` ends this.
    gc.disable()
    try:
        _fill_gaps()
        return _told(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        gc.enable()


def _told(argv: Sequence[str]) -> int:
    """Run a command line and say what went wrong."""
    from paragone import ParagoneError
    from paragone_cli.output import OutputError, configure_streams, discard_output, flush, print_error

    configure_streams()
    try:
        status = _run(argv)
        flush()
    except OutputError as error:
        discard_output()
        if error.sentence:
            print_error(error)
        return error.exit_code
    except ParagoneError as error:
        print_error(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 (the outermost edge: a mistake of ours is told in a sentence)
        import traceback

        from paragone_workbench.engines.logs import crash_report

        kept = crash_report(traceback.format_exc())
        print_error(ParagoneError(f"A mistake in the program ended it ({type(error).__name__}): {kept}"))
        return 1
    return status


def _run(argv: Sequence[str]) -> int:
    from paragone_cli import arguments
    from paragone_cli.output import put

    args = arguments.parse(argv)
    if args.help:
        put(arguments.help_of(args.command).rstrip("\n"))
        return 0
    match args.command:
        case "ask":
            from paragone_cli.ask import ask

            return ask(args)
        case "compare":
            from paragone_cli.compare import compare

            return compare(args)
        case "engines":
            from paragone_cli.engines import engines

            return engines(args)
        case "models":
            from paragone_cli.models import models

            return models(args)
        case "pull":
            from paragone_cli.pull import pull

            return pull(args)
        case "options":
            from paragone_cli.options import options

            return options(args)
        case "config":
            from paragone_cli.config import config

            return config(args)
        case "env":
            from paragone_cli.env import env

            return env(args)
        case "doctor":
            from paragone_cli.doctor import doctor

            return doctor(args)
        case "demo":
            from paragone_cli.screen import demo

            return demo(args)
    if args.version:
        from importlib.metadata import version

        put(f"paragone {version('paragone')}")
        return 0
    from paragone_cli.screen import screen

    return screen(args)


def _fill_gaps() -> None:
    """Stand something in for standard streams that whoever started the program has closed.

    Output to one that refuses it fails as output to a full disk does; errors have nowhere to go.
    """
    for name, mode in (("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, mode)
            setattr(sys, name, open(nowhere, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (open to the end)


if __name__ == "__main__":
    sys.exit(main())
