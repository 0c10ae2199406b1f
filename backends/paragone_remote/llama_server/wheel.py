"""The llama-server in the wheel xllamacpp: `python -m paragone_remote.llama_server.wheel`.

This program takes llama-server's command line. The wheel has the server's code, but no program, and its Python classes
lack some settings. This module calls llama.cpp's own parser, which the wheel exports as a C++ function: so all options,
defaults, environment variables and errors are llama-server's. The backend reads the abilities of this llama-server
from `--help`, which the parser prints too.

The parser writes into the C++ structure inside a `CommonParams`. The address and the layout of this structure differ
between builds. Therefore this module accepts exactly one version, and checks the address before the parser writes.
"""

import ctypes
import signal
import struct
import sys
from collections.abc import Sequence
from typing import NoReturn

VERSION = "2026.9.11063"
"""The version of xllamacpp that this module accepts."""

_PARSE = "_Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E"
"""bool common_params_parse(int, char **, common_params &, llama_example, void (*)(int, char **)), in common/arg.h."""

_LOG = "_Z15common_log_mainv"
_FLUSH = "_Z16common_log_flushP10common_log"
"""common_log *common_log_main() and void common_log_flush(common_log *), in common/log.h."""

_SERVER = 12
"""LLAMA_EXAMPLE_SERVER, in common/common.h: with this value, the parser knows llama-server's options."""

_FIRST = ("n_predict", "n_ctx", "n_batch", "n_ubatch")
"""The first fields of common_params, each an int32."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Run a llama-server with these arguments until a signal ends the process."""
    import xllamacpp

    # importlib.metadata would take a third of the CPU time of this start.
    installed = xllamacpp.__version__
    if installed != VERSION:
        sys.exit(f"llama-server needs xllamacpp {VERSION}; {installed} is installed.")
    params = xllamacpp.CommonParams()
    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    parse, log, flush = getattr(library, _PARSE), getattr(library, _LOG), getattr(library, _FLUSH)
    parse.restype, log.restype = ctypes.c_bool, ctypes.c_void_p
    command = [b"llama-server", *(argument.encode("utf-8", "surrogateescape") for argument in arguments)]
    argv = (ctypes.c_char_p * (len(command) + 1))(*command, None)
    if not parse(len(command), argv, ctypes.c_void_p(_address(params)), _SERVER, None):
        sys.exit(1)  # the parser has printed the reason
    if not params.model.path:
        sys.exit("llama-server from xllamacpp needs a model: it has no router.")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # a signal ends the process even while the library computes
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        flush(ctypes.c_void_p(log()))  # a thread writes the log, and on a busy machine it may not have begun
        sys.exit(f"error: {error}")
    while server is not None:  # the server runs as long as this reference exists
        signal.pause()
    raise AssertionError


def _address(params: object) -> int:
    """Return the address of the C++ structure in a `CommonParams`. Exits if the structure is at another offset."""
    marks = [0x5EED0000 + index for index, _ in enumerate(_FIRST)]
    before = [getattr(params, name) for name in _FIRST]
    for name, mark in zip(_FIRST, marks, strict=True):
        setattr(params, name, mark)
    offset = object.__basicsize__  # the structure follows the header that every Python object has
    found = ctypes.string_at(id(params) + offset, 4 * len(marks))
    for name, value in zip(_FIRST, before, strict=True):
        setattr(params, name, value)
    if found != struct.pack(f"={len(marks)}i", *marks):
        sys.exit("llama-server cannot use this build of xllamacpp: its structures are not as expected.")
    return id(params) + offset


if __name__ == "__main__":
    main(sys.argv[1:])
