"""The addresses that an engine contacts. Reads URLs and the environment; imports no HTTP client."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from paragone import InputError
from paragone.key_text import is_key
from paragone.network.addresses import bracketed
from paragone_remote.endpoints.endpoint_options import EndpointOptions
from paragone_remote.server_text import plain

_PORTS = {"http": 80, "https": 443}
_ELSEWHERE = "Say where the key is: key_env, key_keyring, key_command or headers. In a path, write $VARIABLE for the key."


def url_of(options: EndpointOptions) -> str:
    """Return the server's URL, or the backend's default. Raises InputError if there is no URL, or if the URL's path has a key."""
    url = options.url or type(options)().url
    if url is None:
        raise InputError(
            "The address of the server is not set.", hint="Set url, such as http://127.0.0.1:8000."
        )
    path = re.split("[?#]", url.partition("://")[2])[0].partition("/")[2]
    if any(map(is_key, path.split("/"))):
        raise InputError(
            "A part of the url's path looks like a key, which would be recorded.", hint=_ELSEWHERE
        )
    return url


def read_url(url: str, path: str = "") -> tuple[str, str]:
    """Return the base URL without a trailing slash, and its origin. Raises InputError.

    `path` is appended to a URL without a path. Variables in the path are not replaced.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
        if port == 0:
            raise ValueError("port 0 is not valid")
    except ValueError as error:
        raise InputError(
            "The url cannot be read.", hint="Write the url of one server as http://HOST:PORT."
        ) from error
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "The url contains a user name or password, which would be recorded.", hint=_ELSEWHERE
        )
    if parts.query or parts.fragment:
        raise InputError("The url has a query or a fragment, where a key would be recorded.", hint=_ELSEWHERE)
    if parts.scheme not in _PORTS or not host:
        raise InputError(
            f"The url {plain(url)!r} is not the URL of a server.", hint="Write the url as http://HOST:PORT."
        )
    if not url.isprintable():
        raise InputError("The url has unprintable characters: write http://HOST:PORT, with a path if needed.")
    origin = _origin(parts.scheme, host, port)
    base = urlunsplit((parts.scheme, origin.partition("://")[2], parts.path.rstrip("/") or path, "", ""))
    return base, origin


def proxy_for(origin: str) -> str | None:
    """Return the proxy that the environment variables set for a server, as a URL that may contain a password."""
    import urllib.request  # imported here because few users have a proxy

    parts = urlsplit(origin)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxies = urllib.request.getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named:
        return None
    return named if "://" in named else f"http://{named}"


def reached(options: EndpointOptions) -> tuple[str, ...]:
    """Return the addresses of the server and of the proxy, if any, each as `SCHEME://HOST:PORT`.

    Empty if the URL is missing or invalid, because such an engine contacts nothing.
    """
    try:
        _, origin = read_url(url_of(options))
    except InputError:
        return ()
    found = [_address(origin)]
    proxy = proxy_for(origin) if options.use_proxy else None
    if proxy is not None and (address := _address(proxy)):
        found.append(address)
    return tuple(found)


def _address(url: str) -> str:
    """Return only scheme, host and port of a URL; empty if the URL has no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    return _origin(parts.scheme, host, port or _PORTS.get(parts.scheme)) if host else ""


def _origin(scheme: str, host: str, port: int | None) -> str:
    return f"{scheme}://{bracketed(host)}" + (f":{port}" if port else "")
