"""Offers files for conversations that could not be saved."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.texts import counted, quoted, size_text
from paragone_tui.terminal.text import one_line
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.output_file import FileExists, check_target
from paragone_workbench.store.records import SavedConversation


def offer_files(conversations: Sequence[SavedConversation], find: BackendLookup) -> None:
    """Ask on the terminal, for each conversation, whether to write it to a file, and to which one."""
    for number, conversation in enumerate(conversations, 1):
        _say(
            f"A file can keep the conversation {_described(conversation)}: a .json file keeps everything, a .md file "
            "the text to read."
        )
        if not _offer(conversation, _proposed(number), find):
            _say("The conversation was not written.")


def _offer(conversation: SavedConversation, proposed: Path, find: BackendLookup) -> bool:
    """Ask for a path until the file is written. Returns False if the user wants no file.

    An existing file is replaced if the user enters its path twice.
    """
    existing: Path | None = None
    while True:
        sys.stderr.write(f"File (enter: {proposed}; n: none): ")
        sys.stderr.flush()
        try:
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            answer = ""
        if not answer:
            sys.stderr.write("\n")  # the user pressed ctrl+d or ctrl+c, or the terminal is gone
        if not answer or answer.strip().lower() in ("n", "no"):
            return False
        path = Path(answer.strip() or proposed).expanduser()
        try:
            size = _write(conversation, path, find, replaces=path == existing)
        except FileExists:
            existing = path
            _say(f"{path} exists already. Type the same path again to replace the file.")
            continue
        except ParagoneError as error:
            _say(str(error))
            continue
        _say(f"{path} is written ({size_text(size)}).")
        return True


def _write(conversation: SavedConversation, path: Path, find: BackendLookup, *, replaces: bool) -> int:
    """Write an unsaved conversation to a file, and return the size of the file in bytes.

    Raises InputError if the file's format is unknown, and ParagoneError if the file cannot be written.
    """
    from paragone_workbench.reporting.file import write

    suffix = path.suffix.lower()
    if suffix not in (".json", ".md"):
        raise InputError(f"The name of {path} must end in .json or .md.")
    check_target(path, replaces=replaces)
    return write(
        path, _markdown(conversation, find) if suffix == ".md" else asyncio.run(_document(conversation, find))
    )


def _markdown(conversation: SavedConversation, find: BackendLookup) -> Iterator[str]:
    from paragone_workbench.reporting.conversation import conversation_report
    from paragone_workbench.reporting.file import report_pieces

    return report_pieces(conversation_report(conversation, find), "md", time.time())


async def _document(conversation: SavedConversation, find: BackendLookup) -> list[str]:
    from paragone_workbench.experiments.document import conversation_document

    return [piece async for piece in conversation_document(conversation, find)]


def _described(conversation: SavedConversation) -> str:
    prompts, answers = len(conversation.conversation.prompts), len(conversation.runs)
    return (
        f"{quoted(one_line(conversation.title))} ({counted(prompts, 'prompt')}, {counted(answers, 'answer')})"
    )


def _proposed(number: int) -> Path:
    """Return a new path in the first folder that is writable: the current folder, the home folder or the temporary folder."""
    folders = [Path.cwd(), Path.home(), Path(tempfile.gettempdir())]
    folder = next((folder for folder in folders if os.access(folder, os.W_OK)), folders[0])
    return folder / f"paragone-{time.strftime('%Y%m%d-%H%M%S')}-{number}.json"


def _say(sentence: str) -> None:
    sys.stderr.write(f"paragone: {sentence}\n")
