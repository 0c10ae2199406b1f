"""The options of every endpoint: address, credentials, certificates and timeouts.

Options are recorded in histories, exports and manifests, so no option is a key. A key is read from an environment variable,
the system's keyring or a command each time an engine is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from paragone import Options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions(Options):
    """Options that take effect when a model at an endpoint is opened."""

    default_path: ClassVar[str] = ""
    """The path that is appended to a URL without a path."""

    url: str | None = option(
        None,
        "Address of the server, such as http://gpu-box:8000; $NAME in its path is replaced by an environment variable.",
        metavar="URL",
        address=True,
        outside="sent",
    )
    key_env: str | None = option(
        None,
        "Environment variable that holds the key; it is sent as a bearer token.",
        metavar="name",
        outside="sent",
    )
    key_keyring: str | None = option(
        None,
        "Entry of the system's keyring that holds the key, such as gpu-box/me for the user me of the service gpu-box.",
        metavar="service/user",
        outside="sent",
    )
    key_command: str | None = option(
        None,
        "Command whose first line of output is the key, such as: pass show gpu-box.",
        metavar="command",
        secret=True,
        outside="command",
    )
    headers: tuple[str, ...] = option(
        (),
        "Headers to send, each as `Name: value`; $NAME in a value is replaced by an environment variable.",
        metavar="list of headers",
        secret=True,
        outside="sent",
    )
    ca_file: str | None = option(
        None, "PEM file with additional certificates to trust.", metavar="path", outside="file"
    )
    client_cert: str | None = option(
        None,
        "PEM file with the client certificate; it may contain the key too.",
        metavar="path",
        outside="file",
    )
    client_key: str | None = option(
        None, "PEM file with the client certificate's key.", metavar="path", outside="file"
    )
    connect_timeout: float = option(10.0, "Seconds to wait for a connection.", minimum=0.1, maximum=3600)
    load_timeout: float = option(
        600.0,
        "Seconds to wait for the first token, while the server loads the model and processes the prompt.",
        minimum=0.1,
        maximum=86400,
    )
    idle_timeout: float = option(
        60.0,
        "Seconds to wait for the next part of an answer.",
        minimum=0.1,
        maximum=86400,
    )
    use_proxy: bool = option(
        False, "Whether to use the proxy of the environment variables (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)."
    )
