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
        # Writing to a closed standard output fails as on a full disk; a closed standard error discards all text.
        if sys.stdout is None:
            sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
        if sys.stderr is None:
            sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        gc.enable()


def _run(argv: Sequence[str]) -> int:
    from paragone import ParagoneError
    from paragone_cli import commands
    from paragone_cli.command_line import output

    output.configure_streams()
    try:
        try:
            return commands.run(argv)
        except KeyboardInterrupt:
            output.discard_output()  # the end of the process would wait for a reader that reads nothing
            raise
        finally:
            output.flush()
    except ParagoneError as error:
        if isinstance(error, output.OutputError):
            output.discard_output()
        found = error
    except MemoryError:
        found = ParagoneError("The memory of this machine, or the limit of this process, is used up.")
    except Exception as error:  # noqa: BLE001 (the outermost handler: users see a message, not a traceback)
        import traceback

        from paragone_workbench.engines.failures import crash_report

        report = crash_report(traceback.format_exc())
        found = ParagoneError(f"An internal error ended the program ({type(error).__name__}); {report}")
    if found.message:
        output.print_error(found)
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main())
