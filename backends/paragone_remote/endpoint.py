"""An endpoint: a server's checked address, its options, its key and its certificates. No error message contains a key."""

import asyncio
import contextlib
import os
import re
import shlex
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from paragone import EngineError, InputError, texts
from paragone.threads import in_daemon_thread
from paragone.worker.process import output_of
from paragone_remote.options import EndpointOptions, plain, read_url, url_of

LONGEST_ERROR = 10_000
"""Largest number of characters of a server's error that are read; messages quote fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of a server and the headers of every request. The repr of an endpoint shows no secret."""

    url: str = field(repr=False)
    """The base URL of the protocol's paths, without a trailing slash. The path of the URL may contain a key."""
    shown: str
    """The base URL for display and records: its path has the names of variables instead of their values."""
    origin: str
    """`scheme://host:port`, for messages and to identify the server."""
    options: EndpointOptions
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Sequence[str] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = None
    socket: str | None = None
    """Path of the Unix socket to connect to instead of host and port."""

    @property
    def where(self) -> str:
        """The server, for the beginning of a message."""
        return f"The server at {self.origin}"

    @property
    def root(self) -> str:
        """The base URL of the server's paths outside OpenAI's protocol."""
        return self.url.removesuffix("/v1")

    @property
    def base(self) -> str:
        """The path of OpenAI's protocol below the root: `/v1`, or empty."""
        return self.url.removeprefix(self.root)

    def quote(self, text: str) -> str:
        """Return a server's text for use in a message, with the secrets of this endpoint removed."""
        for value in (*self.headers.values(), *self.secrets):
            for secret in (value, value.rpartition(" ")[2]):
                if len(secret) >= 4:
                    text = text.replace(secret, texts.HIDDEN)
        return plain(text)

    def quote_error(self, text: str) -> str:
        """Return a server's error for use in a message, without any keys: gateways may quote their own keys."""
        return self.quote(texts.without_key_words(text[:LONGEST_ERROR]))


async def make_endpoint(options: EndpointOptions) -> Endpoint:
    """Return the endpoint that these options name. Raises InputError."""
    shown, origin = check_options(options)
    base, secrets = fill_path(shown)
    headers = make_headers(options.headers)
    key = await find_key(options)
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    tls = _make_tls(options) if base.startswith("https:") else None
    return Endpoint(
        url=base, shown=shown, origin=origin, options=options, headers=headers, secrets=secrets, tls=tls
    )


def check_options(options: EndpointOptions) -> tuple[str, str]:
    """Check these options as they are written. Returns the same as `check_url`. Raises InputError."""
    check_headers(options.headers)
    check_key(options)
    if options.client_key is not None and options.client_cert is None:
        raise InputError("client_key is set, but not client_cert.")
    return check_url(url_of(options), options.default_path)


def check_url(url: str, path: str = "") -> tuple[str, str]:
    """Return the base URL without a trailing slash, and its origin. Raises InputError."""
    base, origin = read_url(url, path)
    try:
        httpx.URL(origin)
    except httpx.InvalidURL as error:
        raise InputError(f"The url {plain(origin)!r} has an invalid host name.") from error
    return base, origin


def _make_tls(options: EndpointOptions) -> ssl.SSLContext:
    import certifi  # the certificate authorities that httpx uses

    context = ssl.create_default_context(cafile=certifi.where())
    if options.ca_file is not None:
        path = _existing(options.ca_file, "ca_file")
        try:
            context.load_verify_locations(cafile=path)
        except ssl.SSLError as error:
            raise InputError(f"ca_file: {path} contains no certificate in PEM format.") from error
        except OSError as error:
            raise _unreadable("ca_file", path, error) from error
    if options.client_cert is not None:
        cert = _existing(options.client_cert, "client_cert")
        key = _existing(options.client_key, "client_key") if options.client_key else None
        try:
            # without `password`, OpenSSL would ask for the passphrase of a key on the terminal
            context.load_cert_chain(cert, key, password=lambda: "")
        except ssl.SSLError as error:
            raise InputError(
                "client_cert and client_key are not a matching certificate and key.",
                hint="Both must be PEM files, and the key must not have a passphrase.",
            ) from error
        except OSError as error:
            raise _unreadable("client_cert", cert, error) from error
    return context


def _existing(path: str, option: str) -> str:
    try:
        found = Path(path).expanduser()
        if not found.is_file():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found.stat()  # raises OSError if the file cannot be looked up
            raise InputError(f"{option}: there is no file {plain(str(found))}.")
    except (OSError, RuntimeError) as error:  # an unreadable folder, or an unknown home folder
        raise _unreadable(option, path, error) from error
    return str(found)


def _unreadable(option: str, path: str, error: OSError | RuntimeError) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"{option}: {plain(path)} cannot be read: {reason}.")


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
    """Return the key in an entry of the keyring. Raises InputError, or EngineError after `_PATIENCE`."""
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
            hint=f"Install it with: {texts.install_command('keyring')}",
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


_LONGEST_KEY = 2**16

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*(.*)", re.DOTALL)  # RFC 9110, 5.1
_FRAMING = {"connection", "content-length", "transfer-encoding"}

_WITHOUT_SECRETS = {
    "accept", "accept-encoding", "accept-language", "anthropic-beta", "anthropic-version", "cache-control", "host",
    "http-referer", "openai-beta", "openai-organization", "openai-project", "referer", "user-agent", "x-title",
}  # fmt: skip
"""Headers, in small letters, whose values are not secret. The value of any other header may be a secret."""


async def find_key(options: EndpointOptions) -> str | None:
    """Return the key that checked options name; None if they do not name one. Raises InputError, which never contains
    the key."""
    if options.key_env is not None:
        return _fit(_variable(options.key_env), f"The environment variable {options.key_env}")
    if options.key_keyring is not None:
        return _fit(await key_in_keyring(options.key_keyring), "The key in the keyring")
    if options.key_command is not None:
        return _fit(await _printed(options.key_command), "What key_command printed")
    return None


def check_key(options: EndpointOptions) -> None:
    """Check that at most one source of the key is set, and that no option contains the key itself. Raises InputError."""
    sources = ("key_env", "key_keyring", "key_command")
    named = [name for name in sources if getattr(options, name) is not None]
    if len(named) > 1:
        raise InputError(f"Both {named[0]} and {named[1]} are set.", hint="Set only one of them.")
    if options.key_keyring is not None:
        check_entry(options.key_keyring)
    variable = options.key_env
    if variable is not None and (texts.is_key(variable) or not _NAME.fullmatch(variable)):
        raise InputError(
            "key_env is not the name of an environment variable.",
            hint="Set key_env to the name of the variable, not to the key itself.",
        )


def check_headers(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return names and values of `Name: value` lines, without substituting variables. Raises InputError."""
    headers = []
    for line in lines:
        match = _HEADER.fullmatch(line.strip())
        if match is None:
            raise InputError("An entry of headers does not have the form `Name: value`.")
        name, value = match[1], match[2]
        if name.lower() in _FRAMING:
            raise InputError(f"The header {name} cannot be set.", hint="The HTTP client sets this header.")
        literal = _VARIABLE.sub("", value)
        harmless = name.lower() in _WITHOUT_SECRETS or literal != value
        if not harmless or any(map(texts.is_key, literal.split())):
            raise InputError(
                f"The value of the header {name} may be a secret, which would be recorded.",
                hint=f"Put the value into an environment variable and write `{name}: $VARIABLE`.",
            )
        headers.append((name, value))
    return headers


def make_headers(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in check_headers(lines):
        filled = _VARIABLE.sub(lambda found: _variable(found[1] or found[2]), value)
        headers[name.lower()] = _fit(filled, f"The header {name}")
    return headers


def fill_path(url: str) -> tuple[str, tuple[str, ...]]:
    """Return a URL with the variables in its path replaced, and their values, plain and encoded. Raises InputError."""
    values: list[str] = []

    def value(found: re.Match[str]) -> str:
        text = _variable(found[1] or found[2]).strip()
        values.extend((text, encoded := quote(text, safe="")))
        return encoded

    parts = urlsplit(url)
    return parts._replace(path=_VARIABLE.sub(value, parts.path)).geturl(), tuple(values)


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value.strip():
        raise InputError(
            f"The environment variable {name} is not set.", hint="Set the variable, and start paragone again."
        )
    return value


def _fit(text: str, what: str) -> str:
    """Return the value of a header without surrounding spaces. Raises InputError if the value is invalid."""
    text = text.strip(" ")
    if not (text.isascii() and text.isprintable()):
        raise InputError(f"{what} contains characters that are not allowed in a header.")
    return text


async def _printed(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError("key_command has an unbalanced quotation mark.") from error
    if not words:
        raise InputError("key_command is empty.")
    name = plain(words[0])
    try:
        status, out = await output_of(words, seconds=_PATIENCE, longest=_LONGEST_KEY)
    except TimeoutError as error:
        raise EngineError(f"key_command ({name}) printed no key in {_PATIENCE:g} seconds.") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(f"key_command cannot run {name}: {reason}.") from error
    key = out.partition("\n")[0].strip()
    if status or not key:
        raise InputError(
            f"key_command ({name}) printed no key: it exited with status {status}.",
            hint="Run the command in a terminal to see the reason.",
        )
    return key
