"""Read the files that the user attaches: texts, PDFs and images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from paragone import Image, InputError
from paragone.regular_file import NotRegularFileError, open_regular_file
from paragone.wording import size_text
from paragone_workbench.conversation.attachments.attached_file import AttachedFile
from paragone_workbench.conversation.attachments.mentions import files_of
from paragone_workbench.conversation.images import image_type, read_image
from paragone_workbench.visible_text import visible

FileState: TypeAlias = tuple[tuple[str, int, int], ...]
"""The path, the size and the time of the last change in nanoseconds of each file."""

LARGEST = 8 * 10**6
"""Largest size in bytes of the text of a file: about two million tokens, as many as the largest contexts hold."""
LARGEST_PDF = 64 * 10**6
"""Largest size in bytes of a PDF, most of which are fonts and pictures."""

_HEAD = 2**10
"""Number of bytes at the start of a file that show its kind."""


class MissingFile(InputError):
    """The file of a path does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    """The files that a mention names, with their contents."""

    files: tuple[AttachedFile, ...]
    images: tuple[Image, ...]
    left_out: tuple[str, ...]
    """Sentences about files that match the pattern and cannot be attached."""
    state: FileState
    """The result of `state_of` before the files were read."""


def state_of(path: str) -> FileState:
    """Return the name, size and time of last change of each file of a mention. Blocking. Raises InputError if no file matches."""
    found: list[tuple[str, int, int]] = []
    for one in files_of(path):
        try:
            status = os.stat(os.path.expanduser(one))  # noqa: PTH111, PTH116
        except (OSError, ValueError):  # `read_file` reports the reason
            continue
        found.append((one, status.st_size, status.st_mtime_ns))
    return tuple(found)


def read_files(path: str) -> FilesRead:
    """Read the file at a path, or the files that match a pattern. Blocking. Raises InputError if no file can be read."""
    state = state_of(path)
    paths = files_of(path)
    found: list[AttachedFile | Image] = []
    left_out: list[InputError] = []
    for one in paths:
        try:
            found.append(read_file(one))
        except InputError as error:
            left_out.append(error)
    if not found:
        raise left_out[0]
    return FilesRead(
        files=tuple(file for file in found if isinstance(file, AttachedFile)),
        images=tuple(file for file in found if isinstance(file, Image)),
        left_out=tuple(error.sentence for error in left_out),
        state=state,
    )


def read_file(path: str) -> AttachedFile | Image:
    """Return the file at a path, which may begin with `~`. Blocking.

    Raises InputError if the file cannot be read, or is neither text nor a PDF with text nor an image.
    """
    shown = visible(path)
    try:
        whole = Path(path).expanduser()
        with open_regular_file(whole) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_HEAD)
            if image_type(head) is not None:
                return read_image(whole)
            is_pdf = head.startswith(b"%PDF-")
            largest = LARGEST_PDF if is_pdf else LARGEST
            content = head + file.read(largest + 1 - len(head)) if size <= largest else b""
    except FileNotFoundError as error:
        raise MissingFile(f"There is no file {shown}.") from error
    except IsADirectoryError as error:
        raise InputError(
            f"{shown} is a folder.", hint=f"Name files in the folder: {shown.rstrip('/')}/* names all files."
        ) from error
    except NotRegularFileError as error:
        raise InputError(
            f"{shown} is a device or a pipe.", hint="Texts, PDFs and images can be attached."
        ) from error
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: an unknown home; ValueError: a null
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(f"{shown} cannot be read: {reason}.") from error
    if max(size, len(content)) > largest:
        raise InputError(
            f"{shown} is too large: {size_text(max(size, len(content)))}. The limit is {size_text(largest)}.",
            hint="Attach a part of it.",
        )
    name = _name(path)
    if is_pdf:
        from paragone_workbench.conversation.attachments.pdf_text import pdf_text

        return AttachedFile.of(name, size, pdf_text(content, shown, LARGEST))
    return AttachedFile.of(name, len(content), _text(content, shown))


def _name(path: str) -> str:
    """Return the file's name in the prompt, which does not reveal the user's home folder."""
    shown = os.path.basename(path) if path.startswith(("/", "~")) else path  # noqa: PTH119
    return visible(shown).replace("\n", " ")


def _text(content: bytes, shown: str) -> str:
    if not content.strip():
        raise InputError(f"{shown} is empty.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(
            f"{shown} is not UTF-8 text.", hint="Texts in UTF-8, PDFs and images can be attached."
        )
    return text
