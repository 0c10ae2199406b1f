"""llama.cpp's RPC servers, which provide memory and compute on other machines."""

from __future__ import annotations

import ctypes
import socket

from paragone import EngineError, InputError
from paragone_llama_cpp.c_api.functions import lib

_PATIENCE = 5.0
"""Seconds to wait for a connection to a server."""

_HINT = "Start llama.cpp's rpc-server at this address, or remove the address from rpc_servers."


def add_rpc_servers(addresses: tuple[str, ...]) -> None:
    """Make these llama.cpp RPC servers available as devices.

    Raises InputError if an address is invalid or the build lacks RPC, and EngineError if a server cannot be used.
    """
    if not addresses:
        return
    if not lib.llama_supports_rpc():
        raise InputError(
            "The option 'rpc_servers' needs a native build of llama.cpp with RPC support.",
            hint='Reinstall llama-cpp-python with CMAKE_ARGS="-DGGML_RPC=on".',
        )
    registry = lib.ggml_backend_reg_by_name(b"RPC")
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(
        lib.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_rpc_add_server")
    )
    for address in addresses:
        _reach(address)
        server = add_server(address.encode())
        if not server:
            raise EngineError(f"The RPC server {address} has no devices.", hint=_HINT)
        lib.ggml_backend_register(server)


def _reach(address: str) -> None:
    """Check that a server accepts connections. Without a connection, llama.cpp would end this process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise InputError(
            f"The option 'rpc_servers' cannot contain {address!r}.",
            hint="The option takes addresses HOST:PORT.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(f"The RPC server {address} does not answer: {reason}.", hint=_HINT) from error
