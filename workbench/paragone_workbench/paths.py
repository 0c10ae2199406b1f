"""Where the program's files belong: the XDG folders on Linux, their like elsewhere."""

from __future__ import annotations

from pathlib import Path

from paragone import ParagoneError

__all__ = [
    "cache_folder",
    "config_file",
    "data_folder",
    "history_file",
    "log_folder",
    "private_folder",
    "state_file",
]

_NAME = "paragone"


def config_file() -> Path:
    """Return where the user's own config.toml is looked for: under `XDG_CONFIG_HOME`."""
    import platformdirs

    return platformdirs.user_config_path(_NAME) / "config.toml"


def state_file() -> Path:
    """Return where the program saves what it must remember itself: under `XDG_STATE_HOME`."""
    import platformdirs

    return platformdirs.user_state_path(_NAME) / "state.toml"


def data_folder() -> Path:
    """Return the folder of what the user would miss: under `XDG_DATA_HOME`."""
    import platformdirs

    return platformdirs.user_data_path(_NAME)


def history_file() -> Path:
    """Return where the conversations are kept."""
    return data_folder() / "history.db"


def cache_folder() -> Path:
    """Return the folder of what can be made again: under `XDG_CACHE_HOME`."""
    import platformdirs

    return platformdirs.user_cache_path(_NAME)


def log_folder() -> Path:
    """Return the folder of log files: under `XDG_STATE_HOME` on Linux."""
    import platformdirs

    return platformdirs.user_log_path(_NAME)


def private_folder(folder: Path) -> Path:
    """Make a folder, and those above it, that nobody else may enter (mode 0700). Returns it.

    One that exists already keeps its mode: it may be shared on purpose. Raises ParagoneError.
    """
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)  # says so where a file stands in its place
    except OSError as error:
        raise ParagoneError(
            f"The folder {folder} cannot be made: {error.strerror or error}.",
            hint="Check the permissions and the free space there.",
        ) from error
    return folder
