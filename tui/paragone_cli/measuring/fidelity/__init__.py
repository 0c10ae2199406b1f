"""`paragone fidelity`: measures how far engines' distributions are from those of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError, Message
from paragone.regular_file import read_regular_file
from paragone_cli.command_line.arguments import (
    ENGINE,
    MOST_TOKENS,
    OpenArguments,
    PrintArguments,
    command,
    number,
    option,
    switch,
    whole_number,
    word,
)
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.output import note
from paragone_workbench.measure.sample import sample_text

LARGEST_TEXT = 2**26
"""Largest size in bytes of a text. An engine computes for hours on a text of a hundredth of this size."""


@dataclass(frozen=True, kw_only=True)
class FidelityArguments(OpenArguments, PrintArguments):
    """The reference and the candidates, and the text to measure on."""

    engine: str = word("REFERENCE", f"the engine to measure against: {ENGINE}")
    engines: Sequence[str] = word("CANDIDATE", "an engine to measure, named in the same way", nargs="*")
    kv: str | None = option(
        "--kv TYPES",
        "also measure REFERENCE with these types of its KV cache, separated by commas, such as q8_0,q4_0; REFERENCE itself "
        "then has the default type",
    )
    text: Path | None = option(
        "--text FILE",
        "the text to measure on, in UTF-8; by default a short text that comes with paragone",
        type=Path,
    )
    window: int = option(
        "--window N",
        "size in tokens of the windows of the text; the second half of each window is scored; by default 512",
        type=whole_number(8, MOST_TOKENS),
        default=512,
    )
    max_kld: float | None = option(
        "--max-kld LIMIT",
        "exit with code 1 if the mean KLD of a candidate is above LIMIT (in nats), or unknown",
        type=number(0.0, 1000.0),
    )
    free_running: bool = switch(
        "--free-running", "have the engines also answer prompts greedily, and compare the answers"
    )
    prompts: Path | None = option(
        "--prompts FILE",
        "the prompts of --free-running, a suite file; by default those that come with paragone",
        type=Path,
    )


@command(FidelityArguments)
def fidelity(args: FidelityArguments) -> int:
    """Print the figures, and save them for reports."""
    context = CommandContext(args)
    engines = context.checked([args.engine, *args.engines], args.settings)
    if args.kv is not None:
        from paragone_workbench.measure.kv_cache import kv_candidates

        backend = context.registry.get(engines[0].backend)
        reference, candidates = kv_candidates(
            engines[0], backend, list(filter(None, map(str.strip, args.kv.split(","))))
        )
        engines = (reference, *engines[1:], *candidates)
    if len(engines) == 1:
        raise InputError(
            "There is nothing to compare the reference with.",
            hint="Name a candidate as well, or types of the KV cache with --kv.",
        )
    if args.text is None:
        text = sample_text()
        note("The text that comes with paragone is short, so the uncertainties are wide. See --text.")
    else:
        text = _read(args.text)
    if args.prompts is not None and not args.free_running:
        raise InputError("--prompts needs --free-running: only free-running engines answer prompts.")
    from paragone_cli.measuring.fidelity.fidelity_run import fidelity_run  # loads NumPy

    prompts: Sequence[Sequence[Message]] = ()
    if args.free_running:
        from paragone_cli.measuring.fidelity.prompts import read_prompts  # loads the suites

        prompts = read_prompts(args.prompts)
    return fidelity_run(args, context.registry, engines, text, prompts)


def _read(path: Path) -> str:
    """Return the text in a file. Raises InputError."""
    content = read_regular_file(path, hint="Name a text file.", largest=LARGEST_TEXT)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "LATIN1"  # a guess
        raise InputError(
            f"{path} is not text in UTF-8: byte {error.start + 1:,} does not belong there.",
            hint=f"Convert it: iconv -f {encoding} -t UTF-8 {path}",
        ) from error
