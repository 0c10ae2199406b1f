"""Read files that the user names, and find models in folders and in Hugging Face's cache."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from itertools import pairwise
from pathlib import Path, PurePath

from paragone.errors import InputError

LARGEST = 2**28
"""Largest size in bytes of a file that is read whole, unless the caller of the reader sets another limit."""

LARGEST_TEXT = 16 * 10**6
"""Largest size in bytes of a file whose text is the value of an option."""


class NotRegularFileError(OSError):
    """The path names a pipe, a socket or a device."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "Not a regular file")


def open_regular_file(path: str | Path) -> BufferedReader:
    """Open a file for reading.

    Raises NotRegularFileError for a pipe, a socket or a device, ValueError if the path has a null character, and
    OSError if the file cannot be opened.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NotRegularFileError from error
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotRegularFileError
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Open a path without blocking, even a pipe that no process writes to."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


@contextlib.contextmanager
def reading(path: Path, *, hint: str) -> Iterator[BufferedReader]:
    """Open a file for reading until the end of the block. Errors for a pipe, a socket or a device have this `hint`.

    Raises InputError if the file cannot be opened or read, or is not a regular file.
    """
    try:
        with open_regular_file(path) as file:
            yield file
    except NotRegularFileError as error:
        raise InputError(f"{path} is not a regular file.", hint=hint) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check its name and its permissions."
        ) from error


def read_regular_file(path: Path, *, hint: str, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file of at most `largest` bytes.

    Raises InputError if the file cannot be read, is not regular, or is too large; in the last two cases with `hint`.
    """
    with reading(path, hint=hint) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= largest:
            # files of /proc have the size 0, and some have no end
            content = file.read(-1 if size else largest + 1)
            if len(content) <= largest:
                return content
        raise InputError(f"{path} is larger than {_size(largest)}.", hint=hint)


def _size(count: int) -> str:
    return f"{count // 10**6} MB" if count % 2**20 else f"{count // 2**20} MiB"


def option_text(value: str, option: str) -> str:
    """Return the option's value, or, for a value `@PATH`, the content of the file. Raises InputError."""
    if not value.startswith("@"):
        return value
    hint = "After @ comes the name of a text file."
    try:
        return read_regular_file(Path(value[1:]).expanduser(), hint=hint, largest=LARGEST_TEXT).decode()
    except InputError as error:
        reason, hint = error.message, error.hint
    except UnicodeDecodeError:
        reason = f"{value[1:]} is not UTF-8 text."
    except (RuntimeError, ValueError) as error:  # an unknown home folder, a null character
        reason = f"{value[1:]} cannot be read: {str(error).rstrip('.')}."
    raise InputError(f"The option {option!r} cannot be used: {reason}", hint=hint)


_PREFIX = "models--"
_SNAPSHOTS = "snapshots"


def folders_below(folders: Sequence[str]) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Yield these folders and their subfolders, each with its entries that are not folders.

    Follows links, visits each folder once, and skips unreadable folders.
    """
    waiting = [os.path.abspath(os.path.expanduser(folder)) for folder in folders]  # noqa: PTH100, PTH111
    entered: set[tuple[int, int]] = set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError:
            continue
        files = []
        for entry in entries:
            if is_folder(entry):
                waiting.append(entry.path)
            else:
                files.append(entry)
        yield folder, files


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into an unreadable folder
        return False


def snapshot_folders() -> list[str]:
    """Return the folders with the files of each model repository in the cache, sorted."""
    try:
        return sorted(map(str, _cache().glob(f"{_PREFIX}*/{_SNAPSHOTS}")))
    except OSError:
        return []


def repository_of(path: str) -> str | None:
    """Return the repository, OWNER/NAME, of a file or folder in the cache; None for other paths."""
    parts = PurePath(path).parts
    for folder, below in pairwise(parts):
        if folder.startswith(_PREFIX) and below == _SNAPSHOTS:
            return folder.removeprefix(_PREFIX).replace("--", "/", 1)
    return None


def stored_file(path: str) -> str:
    """Return the blob that a file in the cache links to, the same for all revisions with this file.

    Return the path of any other file unchanged.
    """
    return os.path.realpath(path) if repository_of(path) is not None else path


def _cache() -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(name):
            return Path(os.path.expandvars(folder)).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"
