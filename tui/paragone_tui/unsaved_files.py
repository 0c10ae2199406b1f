"""Offers files for conversations that could not be saved."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.texts import counted, quoted, size_text
from paragone_tui.terminal.text import one_line
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.output_file import FileExists, check_target
from paragone_workbench.store.records import SavedConversation


def offer_files(conversations: Sequence[SavedConversation], find: BackendLookup) -> None:
    for number, conversation in enumerate(conversations, 1):
        prompts, answers = len(conversation.conversation.prompts), len(conversation.runs)
        _say(
            f"A file can keep the conversation {quoted(one_line(conversation.title))} "
            f"({counted(prompts, 'prompt')}, {counted(answers, 'answer')}): a .json file keeps everything, a .md file "
            "the text to read."
        )
        if not _offer(conversation, _proposed(number), find):
            _say("The conversation was not written.")


def _offer(conversation: SavedConversation, proposed: Path, find: BackendLookup) -> bool:
    """Ask until the file is written; False if the user wants none. Entering a path twice replaces an existing file."""
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
    """Write a conversation to a file, and return its size in bytes. Raises ParagoneError."""
    from paragone_workbench.experiments.document import conversation_document
    from paragone_workbench.reporting.conversation import conversation_report
    from paragone_workbench.reporting.file import report_pieces, write

    async def document() -> list[str]:
        return [piece async for piece in conversation_document(conversation, find)]

    suffix = path.suffix.lower()
    if suffix not in (".json", ".md"):
        raise InputError(f"The name of {path} must end in .json or .md.")
    check_target(path, replaces=replaces)
    if suffix == ".json":
        return write(path, asyncio.run(document()))
    return write(path, report_pieces(conversation_report(conversation, find), "md", time.time()))


def _proposed(number: int) -> Path:
    """Return a new path in the first folder that is writable: the current folder, the home folder or the temporary folder."""
    folders = [Path.cwd(), Path.home(), Path(tempfile.gettempdir())]
    folder = next((folder for folder in folders if os.access(folder, os.W_OK)), folders[0])
    return folder / f"paragone-{time.strftime('%Y%m%d-%H%M%S')}-{number}.json"


def _say(sentence: str) -> None:
    sys.stderr.write(f"paragone: {sentence}\n")
