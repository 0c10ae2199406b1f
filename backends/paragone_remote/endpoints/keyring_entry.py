"""Read keys from the system's keyring, with the package keyring, which is imported when a key is read."""

from __future__ import annotations

import asyncio

from paragone import EngineError, InputError
from paragone.installation import install_command
from paragone.threads import in_daemon_thread
from paragone_remote.server_text import plain

_PATIENCE = 60.0
"""Seconds to wait for the keyring, which may ask for a password in a window."""


def check_entry(entry: str) -> tuple[str, str]:
    """Return the service and the user of an entry `SERVICE/USER`. Raises InputError."""
    service, _, user = entry.rpartition("/")
    if not service or not user:
        raise InputError(
            "key_keyring does not name an entry of the keyring.",
            hint="Write SERVICE/USER. `keyring set SERVICE USER` saves a key.",
        )
    return service, user


async def key_in_keyring(entry: str) -> str:
    """Return the key in an entry of the keyring.

    Raises InputError if the key cannot be read, and EngineError if the keyring does not answer in time.
    """
    service, user = check_entry(entry)
    try:
        async with asyncio.timeout(_PATIENCE):
            # a daemon thread, because the keyring's window may stay open
            key = await asyncio.wrap_future(in_daemon_thread(lambda: _read(service, user)))
    except TimeoutError as error:
        raise EngineError(f"The system's keyring gave no key within {_PATIENCE:g} seconds.") from error
    if not key:
        raise InputError(
            f"The system's keyring has no key of the user {plain(user)} for the service {plain(service)}.",
            hint="`keyring set SERVICE USER` saves a key.",
        )
    return key


def _read(service: str, user: str) -> str | None:
    try:
        import keyring  # an optional dependency
        from keyring.errors import KeyringError, NoKeyringError
    except ModuleNotFoundError as error:
        if error.name != "keyring":
            raise
        raise InputError(
            "Reading a key from the system's keyring needs the package keyring, which is not installed.",
            hint=f"Install it with: {install_command('keyring')}",
        ) from error
    try:
        return keyring.get_password(service, user)
    except NoKeyringError as error:
        raise InputError(
            "This system has no keyring that can be used.", hint="Use key_env or key_command instead."
        ) from error
    except KeyringError as error:
        raise InputError(
            f"The system's keyring gave no key ({type(error).__name__}).",
            hint="Unlock the keyring, and try again.",
        ) from error
