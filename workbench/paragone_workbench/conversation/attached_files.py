"""Read the files that the user attaches to prompts: texts, PDFs and images; and complete their paths."""

from __future__ import annotations

import base64
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from paragone import Caution, Image, InputError
from paragone.files import NotRegularFileError, is_folder, open_regular_file
from paragone.texts import counted, install_command, shortened, size_text
from paragone_workbench.conversation.tree import AttachedFile, files_of
from paragone_workbench.text import visible

if TYPE_CHECKING:
    from paragone import LoadedModel, Message

_UNREADABLE = (OSError, RuntimeError, ValueError)  # RuntimeError: an unknown home; ValueError: a null


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCandidate:
    path: str
    """A path that begins with the typed text, apart from upper and lower case. The path of a folder ends with a slash."""
    size: int | None


def candidates(begun: str) -> tuple[PathCandidate, ...]:
    """Return the files, then the folders, whose paths begin with a text, in any case; hidden ones only if the text
    has the dot. Blocking. Raises InputError."""
    slash = begun.rfind("/") + 1
    folder, name = begun[:slash], begun[slash:].casefold()
    if begun == "~":
        return (PathCandidate(path="~/", size=None),)
    found: list[PathCandidate] = []
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            for entry in entries:
                known = entry.name.casefold()
                if not known.startswith(name) or (known.startswith(".") and not name):
                    continue
                if set('"\r\n') & set(entry.name):
                    continue  # a mention cannot contain these characters, not even in quotation marks
                if is_folder(entry):
                    found.append(PathCandidate(path=f"{folder}{entry.name}/", size=None))
                else:
                    found.append(PathCandidate(path=folder + entry.name, size=_size(entry)))
    except _UNREADABLE as error:
        raise InputError(f"{visible(folder) or 'This folder'} cannot be listed: {_reason(error)}.") from error
    return tuple(sorted(found, key=lambda one: (one.size is None, one.path.casefold())))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).rstrip(".")


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size if entry.is_file() else 0
    except OSError:
        return 0


FileState: TypeAlias = tuple[tuple[str, int, int], ...]
"""The path, the size and the time of the last change in nanoseconds of each file."""
LARGEST = 8 * 10**6
"""Largest size in bytes of the text of a file: about two million tokens, as many as the largest contexts hold."""
LARGEST_PDF = 64 * 10**6
"""Largest size in bytes of a PDF: most of it are fonts and images."""
_HEAD = 2**10
"""Number of bytes at the start of a file that show its kind."""


class MissingFile(InputError):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    files: tuple[AttachedFile, ...]
    images: tuple[Image, ...]
    left_out: tuple[str, ...]
    """Messages about files that match the pattern but cannot be attached."""
    state: FileState
    """The result of `state_of` before the files were read."""


def state_of(path: str) -> FileState:
    """Return the name, size and time of last change of each file of a mention. Blocking. Raises InputError if no file
    matches."""
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
    found: list[AttachedFile | Image] = []
    left_out: list[InputError] = []
    for one in files_of(path):
        try:
            found.append(read_file(one))
        except InputError as error:
            left_out.append(error)
    if not found:
        raise left_out[0]
    return FilesRead(
        files=tuple(file for file in found if isinstance(file, AttachedFile)),
        images=tuple(file for file in found if isinstance(file, Image)),
        left_out=tuple(error.message for error in left_out),
        state=state,
    )


def read_file(path: str) -> AttachedFile | Image:
    """Return the file at a path, which may begin with `~`: a text, a PDF with text or an image. Blocking. Raises InputError."""
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
    except _UNREADABLE as error:
        raise InputError(f"{shown} cannot be read: {_reason(error)}.") from error
    if max(size, len(content)) > largest:
        raise InputError(
            f"{shown} is too large: {size_text(max(size, len(content)))}. The limit is {size_text(largest)}.",
            hint="Attach a part of it.",
        )
    name = _name(path)
    if is_pdf:
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


SECONDS = 10
"""Seconds of CPU time that reading a PDF may take."""
MEMORY = 2**30
"""Bytes of memory that reading a PDF may take, on Linux."""
WALL_S = 120.0
"""Seconds that reading a PDF may take on a busy machine."""
_PROGRAM = Path(__file__).with_name("pdf_process.py")
_REASON = 300
"""Largest number of characters of pypdf's reason that an error message shows."""


def pdf_text(content: bytes, shown: str, largest: int) -> str:
    """Return the text of a PDF, called `shown` in errors. Blocking. Raises InputError without pypdf, if the PDF is
    damaged, encrypted or without text, or if it takes too much time or memory."""
    if importlib.util.find_spec("pypdf") is None:
        raise InputError(
            "The text of PDFs needs the package pypdf, which is not installed.",
            hint=f"To install it: {install_command('pdf')}",
        )
    found = _read(content, shown, largest)
    match found.get("error"):
        case "encrypted":
            raise InputError(f"{shown} is encrypted.", hint="Save a copy without a password.")
        case "long":
            raise InputError(f"The text of {shown} is longer than {size_text(largest)}.")
        case "memory":
            raise _costly(shown, f"more than {size_text(MEMORY)} of memory")
        case "damaged":
            reason = shortened(" ".join(found["reason"].split()), _REASON)
            raise InputError(f"The PDF {shown} cannot be read: {reason}.")
    if not found["text"]:
        raise InputError(
            f"{shown} has no text: its pages are images.",
            hint="Attach its pages as images, or use a program that recognizes text.",
        )
    return found["text"]


def _read(content: bytes, shown: str, largest: int) -> dict[str, str]:
    limits = (largest, SECONDS, MEMORY)
    # -P: modules in the program's folder must not hide modules of the standard library
    command = [sys.executable, "-P", str(_PROGRAM), *map(str, limits)]
    try:
        # a process group of its own, so that only the application receives Ctrl+C
        ended = subprocess.run(
            command, input=content, capture_output=True, timeout=WALL_S, check=False, process_group=0
        )
    except subprocess.TimeoutExpired as error:
        raise _costly(shown, f"more than {WALL_S:g} seconds") from error
    except OSError as error:
        raise InputError(f"The PDF {shown} cannot be read: no process can be started ({error}).") from error
    if ended.returncode == -signal.SIGXCPU:
        raise _costly(shown, f"more than {SECONDS} seconds of CPU time")
    if ended.returncode:
        raise InputError(
            f"The PDF {shown} cannot be read: the process that reads it ended with the exit code {ended.returncode}."
        )
    found: dict[str, str] = json.loads(ended.stdout)
    return found


def _costly(shown: str, what: str) -> InputError:
    return InputError(f"Reading the PDF {shown} takes {what}.", hint="Attach a part of it, or its text.")


MAX_BYTES = 20 * 2**20
"""Largest size of an image file in bytes, which most servers accept."""


def read_image(path: Path) -> Image:
    """Return the image in a file. Raises InputError if the file cannot be read, is not an image, or is too large."""
    try:
        path = path.expanduser()
        with open_regular_file(path) as file:
            content = file.read(MAX_BYTES + 1)
    except NotRegularFileError:
        content = b""  # a pipe or a device is not an image
    except _UNREADABLE as error:
        raise InputError(f"The image {path} cannot be read: {_reason(error)}.") from error
    media_type = image_type(content)
    if media_type is None:
        raise InputError(
            f"{path} is not an image in a supported format.", hint="Use a PNG, JPEG, WebP or GIF file."
        )
    if len(content) > MAX_BYTES:
        raise InputError(
            f"The image {path} is larger than {MAX_BYTES // 2**20} MiB.",
            hint="Scale it down: models do this anyway.",
        )
    return Image(data=base64.b64encode(content).decode("ascii"), media_type=media_type, name=path.name)


def image_size(image: Image) -> int:
    return len(image.data) * 3 // 4 - image.data[-2:].count("=")


def drop_unsupported_images(
    messages: Sequence[Message], loaded: LoadedModel
) -> tuple[tuple[Message, ...], tuple[Caution, ...]]:
    """Remove images that the model does not accept, with a warning. Raises InputError if the last prompt has such images."""
    if loaded.vision is not False or not any(message.images for message in messages):
        return tuple(messages), ()
    if messages[-1].images:
        raise InputError(
            f"{loaded.name} does not accept images.",
            hint="Send the prompt without images, or use a model with vision; `paragone engines models` lists them.",
        )
    count = sum(len(message.images) for message in messages)
    sentence = (
        f"{loaded.name} does not accept images: {counted(count, 'image')} of earlier prompts were omitted."
    )
    without = tuple(dataclasses.replace(message, images=()) for message in messages)
    return without, (Caution(code="images-left-out", sentence=sentence),)


def image_type(content: bytes) -> str | None:
    """Return the media type that the first bytes of a file show, by https://mimesniff.spec.whatwg.org, section 6.1; None if
    unknown."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:14] == b"WEBPVP":
        return "image/webp"
    return None
