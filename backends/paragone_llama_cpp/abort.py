"""Stopping llama.cpp in the middle of a computation."""

from __future__ import annotations

import ctypes

from llama_cpp import llama_cpp as lib

from paragone import Cancelled

__all__ = ["Abort"]

# llama.cpp asks its abort callback at every node of the graph, thousands of times a token: a
# Python function there would cost milliseconds a token and wait for the GIL. C's strlen has the
# callback's shape (a pointer in, something that is zero or not out) and runs free of Python: it
# is 0 ("go on") for the empty string that its argument points at, and 1 ("abort") from the moment
# another thread writes a character there.
_strlen = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)


class Abort:
    """Ends the computations of a context when the user asks. For the CPU alone: on a GPU it does nothing."""

    def __init__(self, context: int, cancelled: Cancelled) -> None:
        # A buffer for each run: a request that comes late cannot stop the run that follows.
        self._text = ctypes.create_string_buffer(2)
        lib.llama_set_abort_callback(context, _strlen, ctypes.addressof(self._text))
        cancelled.subscribe(self._ask)
        if cancelled:
            self._ask()

    def _ask(self) -> None:
        self._text[0] = b"x"
