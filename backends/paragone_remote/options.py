"""The options of every endpoint: where it is, how it knows us, how long to wait for it.

A key is never an option itself: options are kept in histories, exports and manifests. It comes
from an environment variable or from a command, each time an engine is opened.
"""

from __future__ import annotations

from dataclasses import dataclass

from paragone import Options, option

__all__ = ["EndpointOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions(Options):
    """What takes effect when a model at an endpoint is opened."""

    url: str | None = option(
        None, "Where the server is, such as http://gpu-box:8000.", metavar="URL", address=True
    )
    key_env: str | None = option(
        None, "Environment variable that holds the key; it is sent as a bearer token.", metavar="name"
    )
    key_command: str | None = option(
        None,
        "Command whose first line of output is the key, such as: pass show gpu-box.",
        metavar="command",
        secret=True,
    )
    headers: tuple[str, ...] = option(
        (),
        "Headers to send, each as `Name: value`; $NAME in a value stands for an environment variable.",
        metavar="list of headers",
        secret=True,
    )
    ca_file: str | None = option(
        None, "PEM file with certificates to trust beside the usual ones.", metavar="path"
    )
    client_cert: str | None = option(
        None, "PEM file with the certificate to show the server; it may hold the key too.", metavar="path"
    )
    client_key: str | None = option(None, "PEM file with that certificate's key.", metavar="path")
    connect_timeout: float = option(10.0, "Seconds to wait for a connection.", minimum=0.1, maximum=3600)
    load_timeout: float = option(
        600.0,
        "Seconds to wait for the first token: the server may load the model and must read the prompt.",
        minimum=0.1,
        maximum=86400,
    )
    idle_timeout: float = option(
        60.0,
        "Seconds of silence in the middle of an answer before it is given up.",
        minimum=0.1,
        maximum=86400,
    )
    use_proxy: bool = option(
        False, "Whether to go through the proxy that the environment names (HTTPS_PROXY and its kin)."
    )
