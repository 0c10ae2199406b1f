"""llama.cpp's RPC servers: memory and compute of other machines."""

from __future__ import annotations

import ctypes
import socket

from llama_cpp import llama_cpp as lib

from paragone import EngineError, InputError
from paragone_llama_cpp.library import libggml

__all__ = ["add_rpc_servers"]

_PATIENCE = 5.0
"""Seconds that a server has to answer."""

_HINT = "Start llama.cpp's rpc-server there, or leave it out of rpc_servers."


def add_rpc_servers(addresses: tuple[str, ...]) -> None:
    """Have models spread over these llama.cpp RPC servers too. Raises InputError and EngineError."""
    if not addresses:
        return
    if not lib.llama_supports_rpc():
        raise InputError(
            "The option 'rpc_servers' needs a llama-cpp-python that was built with RPC.",
            hint='Install it again with CMAKE_ARGS="-DGGML_RPC=on".',
        )
    registry = libggml.ggml_backend_reg_by_name(b"RPC")
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(
        libggml.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_rpc_add_server")
    )
    for address in addresses:
        _reach(address)
        server = add_server(address.encode())
        if not server:
            raise EngineError(f"The RPC server {address} has nothing to compute on.", hint=_HINT)
        libggml.ggml_backend_register(server)


def _reach(address: str) -> None:
    """See that there is a server. llama.cpp ends the process where there is none."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise InputError(f"The option 'rpc_servers' cannot have {address!r}.", hint="It takes HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(f"The RPC server {address} does not answer: {reason}.", hint=_HINT) from error
