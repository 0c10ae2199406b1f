"""`paragone suite new`: writes the prompts of a conversation into a suite."""

from __future__ import annotations

from pathlib import Path

from paragone import InputError
from paragone.wording import counted
from paragone_cli.command_line.output import put_result, warn
from paragone_cli.command_line.saved import conversation_id, opened_store
from paragone_cli.experiments.suite import SuiteArguments
from paragone_workbench.exporting.suite import write_suite


def suite_new(args: SuiteArguments) -> int:
    """Write the file. Returns the exit code."""
    if len(args.names) != 1 or args.source is None:
        raise InputError(
            "A file and a conversation are needed.",
            hint="Write for example: paragone suite new colours.jsonl --from c7",
        )
    path = Path(args.names[0])
    number = conversation_id(args.source)
    with opened_store() as store:
        written = write_suite(store.load(number), path, replaces=args.force)
    if written.with_images:
        warn(f"{counted(written.with_images, 'prompt')} with images left out: a suite has no images.")
    sentence = f"{path} has {counted(written.prompts, 'prompt')}; `paragone suite run {path}` asks them."
    put_result({"file": str(path), "prompts": written.prompts}, sentence, as_json=args.json)
    return 0
