"""The files and folders of the program, and files that commands write."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from paragone import InputError, ParagoneError

if TYPE_CHECKING:
    from platformdirs import PlatformDirs


def _folders() -> PlatformDirs:
    import platformdirs

    return platformdirs.PlatformDirs("paragone")


def config_file() -> Path:
    """Return the default path of the user's config.toml, under `XDG_CONFIG_HOME`."""
    return _folders().user_config_path / "config.toml"


def state_file() -> Path:
    """Return the path of the program's state file, under `XDG_STATE_HOME`."""
    return _folders().user_state_path / "state.toml"


def copied_file() -> Path:
    """Return the path of the file for texts that are too long for the clipboard, under `XDG_STATE_HOME`."""
    return _folders().user_state_path / "copied.md"


def data_folder() -> Path:
    """Return the folder of the user's data, under `XDG_DATA_HOME`."""
    return _folders().user_data_path


def history_file() -> Path:
    return data_folder() / "history.db"


def cache_folder() -> Path:
    """Return the folder of data that can be recreated, under `XDG_CACHE_HOME`."""
    return _folders().user_cache_path


def log_folder() -> Path:
    """Return the folder of log files, under `XDG_STATE_HOME` on Linux."""
    return _folders().user_log_path


def exists(path: Path) -> bool:
    """Return whether a file or folder exists. Raises any other OSError, which `Path.exists` of Python 3.14 hides."""
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return True


def accessible(path: str | Path) -> bool:
    """Return whether a file or folder exists and can be accessed. Never raises, even for invalid paths."""
    try:
        Path(path).stat()
    except (OSError, ValueError):  # ValueError: a null character
        return False
    return True


def private_folder(folder: Path) -> Path:
    """Create a folder and its parents with mode 0700. The mode of an existing folder is kept: it may be shared on
    purpose. Raises ParagoneError."""
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)  # raises an error if a file has the folder's name
    except OSError as error:
        raise ParagoneError(
            f"The folder {folder} cannot be created: {error.strerror or error}.",
            hint="Check the permissions and the free space there.",
        ) from error
    return folder


class FileExists(InputError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} exists already.", hint="Name another file, or add --force to replace this one."
        )


def check_target(path: Path, *inputs: Path, replaces: bool = False) -> None:
    """Check that a file can be written, before hours of work. Raises InputError.

    The file must be neither write-protected, nor one of the command's `inputs`, nor one of the program's own files.
    Raises FileExists if the file exists, unless `replaces`: then the user agreed to replace it.
    """
    try:
        found = exists(path)
        if found and path.is_dir():
            raise InputError(f"{path} is a folder.", hint="Name a file in the folder.")
        if found and not path.is_file():  # replacing a device such as /dev/stdout would remove it
            raise InputError(f"{path} is not a regular file.", hint="Name another one.")
        if found and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):
            raise InputError(
                f"{path} is write-protected.", hint="Name another one, or change its permissions."
            )
        own = (history_file(), config_file(), state_file())
        if found and any(exists(read) and path.samefile(read) for read in (*inputs, *own)):
            raise InputError(f"{path} is a file that the program reads.", hint="Name another one.")
        if found and not replaces:
            raise FileExists(path)
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    folder = _target(path).parent
    above = next((parent for parent in (folder, *folder.parents) if exists(parent)), folder)
    if above.is_file():
        raise InputError(f"{above} is a file, not a folder.", hint="Name a file in a folder.")
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist.", hint="Create it, or choose another folder.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} may not be written to.", hint="Choose another one.")


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[TextIO]:
    """Open a text file in UTF-8 that replaces `path` at the end of the block, with this mode minus the umask.

    After an error, an earlier file is unchanged. If `path` is a symbolic link, the file that it leads to is replaced.
    Raises InputError if permissions forbid writing the file, and ParagoneError if the file cannot be written for another
    reason.
    """
    target = _target(path)
    new = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        handle = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            try:
                yield file
                file.flush()
                new.replace(target)
            finally:
                new.unlink(missing_ok=True)
    except OSError as error:
        unwritable = InputError if isinstance(error, PermissionError) else ParagoneError
        kept = " The earlier file was kept." if target.exists() else ""
        raise unwritable(
            f"{path} cannot be written: {error.strerror or error}.{kept}",
            hint="Check the permissions and the free space there.",
        ) from error


def _target(path: Path) -> Path:
    """Return the file that a path leads to; for a circular link, the link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path
