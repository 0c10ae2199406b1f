"""`paragone fidelity`: measures how far engines' distributions are from those of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError, Json, ParagoneError
from paragone_cli.command_line.arguments import ENGINE, OpenArguments, PrintArguments, command, option, word
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.output import note, print_error, put_json
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.measuring.fidelity.fidelity_progress import FidelityProgress
from paragone_cli.measuring.fidelity.fidelity_text import put_fidelity
from paragone_workbench.compare.fidelity import Fidelity
from paragone_workbench.compare.fidelity_report import fidelity_json
from paragone_workbench.compare.sample import sample_text
from paragone_workbench.engines.handle import EngineHandle

__all__ = ["fidelity"]


@dataclass(frozen=True, kw_only=True)
class FidelityArguments(OpenArguments, PrintArguments):
    """The reference and the candidates, and the text to measure on."""

    engine: str = word("REFERENCE", f"the engine to measure against: {ENGINE}")
    engines: Sequence[str] = word("CANDIDATE", "an engine to measure, named in the same way", nargs="+")
    text: Path | None = option(
        "--text FILE",
        "the text to measure on, in UTF-8; by default a short one that comes with paragone",
        type=Path,
    )
    window: int = option(
        "--window N",
        "size of the windows of the text in tokens, of which the second half is scored; by default 512",
        type=int,
        default=512,
    )


@command(FidelityArguments)
def fidelity(args: FidelityArguments) -> int:
    """Print the figures, and save them for reports."""
    context = CommandContext(args.config)
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
    async with interruptible(measurement) as interrupts:
        with FidelityProgress() as progress:
            try:
                await measurement.measure(progress.begin)
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
    return interrupts.exit_code(errors, nothing_done=bool(errors) and not measurement.reference.windows)


def _to_json(measurement: Fidelity, text: str | None) -> dict[str, Json]:
    return {"text": text, **fidelity_json(measurement)}


def _read(path: Path) -> str:
    """Return the text in a file. Raises InputError."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise InputError(f"The text {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8: byte {error.start + 1:,} does not belong there.",
            hint=f"Convert it: iconv -f {_encoding(path)} -t UTF-8 {path}",
        ) from error


def _encoding(path: Path) -> str:
    """Guess the encoding of a text that is not UTF-8: UTF-16 if it begins with a byte order mark, else Latin-1."""
    with path.open("rb") as file:
        return "UTF-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "LATIN1"
