"""`paragone fidelity`: measures how far engines' distributions are from those of a reference."""

from __future__ import annotations

from pathlib import Path

from paragone import InputError, Json, ParagoneError
from paragone.regular_file import read_regular_file
from paragone_cli.arguments import Arguments
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_cli.fidelity_progress import FidelityProgress
from paragone_cli.fidelity_text import put_fidelity
from paragone_cli.interrupts import InterruptHandler
from paragone_cli.measurements import save_measurement
from paragone_cli.output import note, print_error, put_json
from paragone_workbench.compare.fidelity import Fidelity
from paragone_workbench.compare.fidelity_report import fidelity_json
from paragone_workbench.compare.sample import sample_text
from paragone_workbench.engines.handle import EngineHandle

__all__ = ["fidelity"]


def fidelity(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    context = CommandContext(args)
    context.warn()
    reference, *candidates = context.checked([args.engine, *args.engines], args.settings)
    if args.text is None:
        text = sample_text()
        note("The text is a short one that comes with paragone, so the uncertainties are wide. See --text.")
    else:
        text = _read(args.text)
    handles = [EngineHandle(it, context.registry) for it in candidates]
    measurement = Fidelity(EngineHandle(reference, context.registry), handles, text, window=args.window)
    name = None if args.text is None else args.text.name
    status = run(_measure(measurement, name, as_json=args.json))
    if measurement.reference.windows:
        found = _to_json(measurement, name)
        save_measurement("fidelity", (reference, *candidates), found, context.registry)
    return status


async def _measure(measurement: Fidelity, text: str | None, *, as_json: bool) -> int:
    interrupts = InterruptHandler(measurement)
    async with interrupts.installed():
        with FidelityProgress() as progress:
            try:
                await measurement.measure(progress.show)
            except ParagoneError:
                if not interrupts.interrupted:  # otherwise the engines were closed while they were opened
                    raise
    if as_json:
        put_json(_to_json(measurement, text))
    else:
        put_fidelity(measurement)
    errors = [it.error for it in (measurement.reference, *measurement.candidates) if it.error is not None]
    for error in errors:
        print_error(error)
    if interrupts.interrupted:
        return 130
    return _exit_code(measurement, errors)


def _to_json(measurement: Fidelity, text: str | None) -> dict[str, Json]:
    return {"text": text, **fidelity_json(measurement)}


def _exit_code(measurement: Fidelity, errors: list[ParagoneError]) -> int:
    nothing = not measurement.reference.windows
    if nothing and errors and all(error.exit_code == InputError.exit_code for error in errors):
        return InputError.exit_code
    return int(bool(errors))


def _read(path: Path) -> str:
    """Return the text in a file. Raises InputError."""
    content = read_regular_file(path, hint="Name a text file.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8: byte {error.start + 1:,} does not belong there.",
            hint=f"Convert it: iconv -f {_encoding(content)} -t UTF-8 {path}",
        ) from error


def _encoding(content: bytes) -> str:
    """Guess the encoding of a text that is not UTF-8: UTF-16 if it begins with a byte order mark, else Latin-1."""
    return "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "LATIN1"
