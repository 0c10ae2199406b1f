"""The llama.cpp library itself: what it was built with, and what it says while it works."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llama_cpp import llama_cpp as lib

__all__ = ["heard"]

_ERROR = 4  # enum ggml_log_level: 1 debug, 2 info, 3 warning, 4 error, 5 the last one continued
_errors: deque[str] = deque(maxlen=20)


@lib.llama_log_callback
def _log(level: int, text: bytes, _: object) -> None:
    line = text.decode("utf-8", "replace")
    if level > 1:
        sys.stderr.write(line)
    if level == _ERROR:
        _errors.append(line.strip())


lib.llama_log_set(_log, ctypes.c_void_p(0))


@contextmanager
def heard() -> Iterator[Callable[[], str]]:
    """Listen for errors; what is yielded returns the first one, the cause of those that follow."""
    _errors.clear()

    def said() -> str:
        return (_errors[0] if _errors else "it does not say why").rstrip(".")

    yield said
