"""Which addresses an engine contacts. Reads URLs and the environment; imports no HTTP client."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from paragone import InputError
from paragone_remote.options import EndpointOptions
from paragone_remote.text import plain

__all__ = ["proxy_for", "reached", "read_url", "url_of"]

_PORTS = {"http": 80, "https": 443}


def url_of(options: EndpointOptions) -> str:
    """Return the server's URL, the backend's usual one where none is set. Raises InputError."""
    url = options.url or type(options)().url
    if url is None:
        raise InputError(
            "It is not said where the server is.", hint="Set url, such as http://127.0.0.1:8000."
        )
    return url


def read_url(url: str, path: str = "") -> tuple[str, str]:
    """Return the base URL without a slash at its end, and its origin. Raises InputError.

    `path` belongs at the end of a URL without one.
    """
    shown = plain(url)
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
        if port == 0:
            raise ValueError("nothing listens at port 0")
    except ValueError as error:
        raise InputError("The url cannot be read.", hint="Write it as http://HOST:PORT.") from error
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "The url holds a user name or password, where it would be recorded.",
            hint="Name an environment variable: key_env, or in headers.",
        )
    if parts.scheme not in _PORTS or not host:
        raise InputError(f"The url {shown!r} is not one of a server.", hint="Write it as http://HOST:PORT.")
    if parts.query or parts.fragment or not url.isprintable():
        raise InputError("The url has parts that do not belong: write http://HOST:PORT and a path at most.")
    origin = _origin(parts.scheme, host, port)
    base = urlunsplit((parts.scheme, origin.partition("://")[2], parts.path.rstrip("/") or path, "", ""))
    return base, origin


def proxy_for(origin: str) -> str | None:
    """Return the proxy that the environment names for a server, as a URL that may hold a password."""
    import urllib.request  # only for those who use a proxy

    parts = urlsplit(origin)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxies = urllib.request.getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named:
        return None
    return named if "://" in named else f"http://{named}"


def reached(options: EndpointOptions) -> tuple[str, ...]:
    """Return the server's address, and the proxy's where one is used: each `SCHEME://HOST:PORT`.

    Empty where the URL is missing or wrong: opening such an engine fails before it contacts anything.
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
    """Return scheme, host and port of a URL and nothing else of it; empty where it has no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    return _origin(parts.scheme, host, port or _PORTS.get(parts.scheme)) if host else ""


def _origin(scheme: str, host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" + (f":{port}" if port else "")
