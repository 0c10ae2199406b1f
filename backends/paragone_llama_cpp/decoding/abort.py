"""Abort a running computation in llama.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from paragone import Cancelled
from paragone_llama_cpp.c_api.functions import Pointer, lib
from paragone_llama_cpp.c_api.structures import AbortCallback

__all__ = ["aborted_by"]

# llama.cpp calls its abort callback at every node of the graph, a thousand times per token. A Python
# function would cost milliseconds per token and wait for the GIL. C's strlen has a suitable signature
# (it takes a pointer, and its result is zero or not) and does not involve Python. It returns 0,
# "continue", for the empty string that its argument points to, and 1, "abort", as soon as another
# thread writes a character there.
_strlen = ctypes.cast(ctypes.CDLL(None).strlen, AbortCallback)
_none = AbortCallback()


@contextmanager
def aborted_by(cancelled: Cancelled, context: Pointer) -> Iterator[None]:
    """Abort the computations of a context when the user asks to stop. Has no effect on a GPU."""
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
