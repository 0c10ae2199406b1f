"""The program's entry point: runs a command line and returns an exit code, without tracebacks."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 128 + 2
"""The exit code of shells for a program that SIGINT ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own, and return its exit code.

    0: success. 1: failure. 2: usage or configuration error. 130: interrupted by SIGINT.
    """
    # Importing modules creates no garbage, and collecting takes a sixth of the start-up time.
    # `begin_collecting` enables it again.
    gc.disable()
    try:
        _replace_closed_streams()
        return _run_reporting_errors(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        gc.enable()


def _run_reporting_errors(argv: Sequence[str]) -> int:
    """Run a command line and print errors on standard error."""
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
    except Exception as error:  # noqa: BLE001 (the outermost handler: users see a sentence, not a traceback)
        import traceback

        from paragone_workbench.engines.logs import crash_report

        report = crash_report(traceback.format_exc())
        print_error(ParagoneError(f"An internal error ended the program ({type(error).__name__}); {report}"))
        return 1
    return status


def _run(argv: Sequence[str]) -> int:
    from paragone_cli import commands
    from paragone_cli.output import put

    args = commands.parse(argv)
    if args.help:
        put(commands.help_of(args.command).rstrip("\n"))
        return 0
    match args.command:
        case "ask":
            from paragone_cli.ask import ask

            return ask(args)
        case "compare":
            from paragone_cli.compare import compare

            return compare(args)
        case "fidelity":
            from paragone_cli.fidelity import fidelity

            return fidelity(args)
        case "fit":
            from paragone_cli.fit import fit

            return fit(args)
        case "suite":
            from paragone_cli.suite import suite

            return suite(args)
        case "vote":
            from paragone_cli.vote import vote

            return vote(args)
        case "ratings":
            from paragone_cli.ratings import ratings

            return ratings(args)
        case "history":
            from paragone_cli.history import history

            return history(args)
        case "replay":
            from paragone_cli.replay import replay

            return replay(args)
        case "report":
            from paragone_cli.report import report

            return report(args)
        case "bench":
            from paragone_cli.bench import bench

            return bench(args)
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


def _replace_closed_streams() -> None:
    """Replace standard output and standard error if they are closed.

    Writing to standard output then fails as on a full disk; standard error is discarded.
    """
    for name, mode in (("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, mode)
            setattr(sys, name, open(nowhere, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (stays open)


if __name__ == "__main__":
    sys.exit(main())
