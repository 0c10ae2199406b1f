"""The program's entry point: runs a command line, prints errors without tracebacks, and returns an exit code."""

import gc
import os
import sys
from collections.abc import Sequence

from paragone_cli.command_line import INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own, and return its exit code.

    0: success. 1: failure. 2: usage or configuration error. 130: interrupted by SIGINT.
    """
    # Importing modules creates no garbage, and garbage collection takes a sixth of the start-up time.
    # What runs longer enables garbage collection again.
    gc.disable()
    try:
        _replace_closed_streams()
        return _run_reporting_errors(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        gc.enable()


def _run_reporting_errors(argv: Sequence[str]) -> int:
    from paragone import ParagoneError
    from paragone_cli.command_line import output
    from paragone_cli.commands import run

    output.configure_streams()
    try:
        try:
            status = run(argv)
        finally:
            output.flush()
    except output.OutputError as error:
        output.discard_output()
        if error.sentence:
            output.print_error(error)
        return error.exit_code
    except ParagoneError as error:
        output.print_error(error)
        return error.exit_code
    except MemoryError:
        output.print_error(
            ParagoneError("The memory of this machine, or the limit of this process, is used up.")
        )
        return 1
    except Exception as error:  # noqa: BLE001 (the outermost handler: users see a sentence, not a traceback)
        import traceback

        from paragone_workbench.engines.failures import crash_report

        report = crash_report(traceback.format_exc())
        output.print_error(
            ParagoneError(f"An internal error ended the program ({type(error).__name__}); {report}")
        )
        return 1
    return status


def _replace_closed_streams() -> None:
    """Replace standard output and standard error if they are closed.

    Writing to the new standard output fails as on a full disk; the new standard error discards all text.
    """
    for name, mode in (("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, mode)
            setattr(sys, name, open(nowhere, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (stays open)


if __name__ == "__main__":
    sys.exit(main())
