"""The llama-server in the wheel xllamacpp: `python -m paragone_remote.llama_server.executable.wheel`.

It takes llama-server's command line. The wheel has the server's code but no program, and its Python classes have a
field for most settings. This module uses llama.cpp's own parser instead, which the wheel exports as a C++ function:
so each option, default, environment variable and error is llama-server's, also `--help`, from which the backend
learns what a llama-server can do. A table of options and fields would have to repeat all of them.

The parser writes into the C++ structure inside a `CommonParams`. Where it is, and what the parser expects, differ
from build to build. Therefore exactly one version is accepted, and the place is checked before it is written to.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import signal
import struct
import sys
from collections.abc import Sequence
from typing import NoReturn

VERSION = "2026.9.11063"
"""The version of xllamacpp that this module fits."""

_PARSE = "_Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E"
"""bool common_params_parse(int, char **, common_params &, llama_example, void (*)(int, char **)), in common/arg.h."""

_SERVER = 12
"""LLAMA_EXAMPLE_SERVER, in common/common.h: the parser then knows llama-server's options."""

_FIRST = ("n_predict", "n_ctx", "n_batch", "n_ubatch")
"""The first fields of common_params, each an int32."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Run a llama-server with these arguments until the process is ended by a signal."""
    installed = importlib.metadata.version("xllamacpp")
    if installed != VERSION:
        sys.exit(f"llama-server needs xllamacpp {VERSION}; {installed} is installed.")
    import xllamacpp

    params = xllamacpp.CommonParams()
    parse = getattr(ctypes.CDLL(xllamacpp.xllamacpp.__file__), _PARSE)
    parse.restype = ctypes.c_bool
    command = [b"llama-server", *(argument.encode("utf-8", "surrogateescape") for argument in arguments)]
    argv = (ctypes.c_char_p * (len(command) + 1))(*command, None)
    if not parse(len(command), argv, ctypes.c_void_p(_address(params)), _SERVER, None):
        sys.exit(1)  # the parser has said why
    if not params.model.path:
        sys.exit("llama-server from xllamacpp needs a model: it has no router.")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # also while the library computes
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    while server is not None:  # it serves as long as it is held
        signal.pause()
    raise AssertionError


def _address(params: object) -> int:
    """Return the address of the C++ structure in a `CommonParams`. Exits if it is not where it should be."""
    marks = [0x5EED0000 + place for place, _ in enumerate(_FIRST)]
    before = [getattr(params, name) for name in _FIRST]
    for name, mark in zip(_FIRST, marks, strict=True):
        setattr(params, name, mark)
    place = object.__basicsize__  # behind what every Python object begins with
    found = ctypes.string_at(id(params) + place, 4 * len(marks))
    for name, value in zip(_FIRST, before, strict=True):
        setattr(params, name, value)
    if found != struct.pack(f"={len(marks)}i", *marks):
        sys.exit("llama-server cannot use this build of xllamacpp: its structures are not as expected.")
    return id(params) + place


if __name__ == "__main__":
    main(sys.argv[1:])
