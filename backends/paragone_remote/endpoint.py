"""An endpoint: a server's checked address, its options, its key and its certificates."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from paragone import InputError
from paragone.texts import HIDDEN, without_key_words
from paragone_remote.keys import check_headers, check_key, fill_path, find_key, make_headers
from paragone_remote.options import EndpointOptions, plain, read_url, url_of

_LONGEST_ERROR = 10_000
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
        """The server at the beginning of a sentence."""
        return f"The server at {self.origin}"

    @property
    def root(self) -> str:
        """The base URL of the server's paths outside of OpenAI's protocol."""
        return self.url.removesuffix("/v1")

    def quote(self, text: str) -> str:
        """Return a server's text for use in a message, with the secrets of this endpoint removed."""
        for value in (*self.headers.values(), *self.secrets):
            for secret in (value, value.rpartition(" ")[2]):
                if len(secret) >= 4:
                    text = text.replace(secret, HIDDEN)
        return plain(text)

    def quote_error(self, text: str) -> str:
        """Return a server's error for use in a message, without any keys: gateways quote keys of their own."""
        return self.quote(without_key_words(text[:_LONGEST_ERROR]))


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
