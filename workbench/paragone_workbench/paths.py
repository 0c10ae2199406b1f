"""The locations of the program's files: XDG base directories on Linux, and the equivalents on other systems."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import ParagoneError

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
    """Create a folder and its parents with mode 0700; an existing one may be shared on purpose. Raises ParagoneError."""
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)  # raises an error if a file has the name of the folder
    except OSError as error:
        raise ParagoneError(
            f"The folder {folder} cannot be created: {error.strerror or error}.",
            hint="Check the permissions and the free space there.",
        ) from error
    return folder
