"""The worker: each native engine runs in its own process.

The end of a process always frees its VRAM. The application survives an abort in C++ or CUDA, output of
native code stays off the screen, and engines with conflicting dependencies can run side by side.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone.worker.native import Build, Environment, NativeBackend

__all__ = ["Build", "Environment", "NativeBackend"]


def __getattr__(name: str) -> object:
    """Import a class when it is first used: only the application uses these classes, which import asyncio."""
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.native"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
