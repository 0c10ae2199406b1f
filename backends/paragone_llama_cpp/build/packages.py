"""The packages that the engine needs besides llama.cpp. Importing this module raises InputError if a package is missing."""

from __future__ import annotations

import os

from paragone import InputError
from paragone.installation import install_command
from paragone_llama_cpp.c_api.loading import installed_builds

# numpy's OpenBLAS would start a thread for each core, and the threads spin at first. paragone needs no such threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

try:
    import jinja2  # noqa: F401
    import numpy as np
except ModuleNotFoundError as error:
    if error.name not in ("jinja2", "numpy"):
        raise
    missing = f"llama.cpp needs the package {error.name}, which" if installed_builds() else "llama.cpp"
    raise InputError(
        f"{missing} is not installed.", hint=f"Install it with: {install_command('llama-cpp-prebuilt')}"
    ) from error

__all__ = ["np"]
