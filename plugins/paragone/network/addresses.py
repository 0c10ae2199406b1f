"""Read hosts and ports from addresses, and spell each host in one way."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_and_port(address: str) -> tuple[str, int]:
    """Return the host and the port of `SCHEME://HOST:PORT` or `HOST:PORT`. A missing port is 0.

    Raises ValueError if `address` has neither form.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname:
        raise ValueError(f"{address!r} has no host")
    return spelled(parts.hostname), parts.port or 0


def spelled(host: str | bytes) -> str:
    """Return a host in its usual spelling: an IP address in its short form, a name in lower case and in ASCII."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    host = host.rstrip(".").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return host
    found = _ip_address(host)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found or host)


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return whether a host, in its usual spelling, is this machine: loopback, or an unspecified address such as 0.0.0.0."""
    found = _ip_address(host)
    if found is None:
        return host in ("", "localhost")
    return found.is_loopback or found.is_unspecified


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
