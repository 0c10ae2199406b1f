"""Stopping llama.cpp in the middle of a computation."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from llama_cpp import llama_cpp as lib

from paragone import Cancelled

__all__ = ["aborted_by"]

# llama.cpp asks its abort callback at every node of the graph, a thousand times a token: a Python
# function there would cost milliseconds a token and wait for the GIL. C's strlen has the callback's
# shape (a pointer in, something that is zero or not out) and runs free of Python: it is 0, "go on",
# for the empty string that its argument points at, and 1, "abort", from the moment another thread
# writes a character there.
_strlen = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
_none = lib.ggml_abort_callback()


@contextmanager
def aborted_by(cancelled: Cancelled, context: int) -> Iterator[None]:
    """Have the computations of a context end when the user asks. On a GPU this does nothing."""
    text = ctypes.create_string_buffer(2)

    def ask() -> None:
        text[0] = b"x"

    lib.llama_set_abort_callback(context, _strlen, ctypes.addressof(text))
    try:
        cancelled.subscribe(ask)
        if cancelled:
            ask()
        yield
    finally:
        lib.llama_set_abort_callback(context, _none, None)
