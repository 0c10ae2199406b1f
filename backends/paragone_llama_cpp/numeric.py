"""numpy, or an error that says how to install it together with llama.cpp."""

from __future__ import annotations

from paragone import InputError
from paragone.installation import install_command

try:
    import numpy as np
except ModuleNotFoundError as error:
    if error.name != "numpy":
        raise
    raise InputError(
        "llama.cpp is not installed.", hint=f"Install it with: {install_command('llama-cpp-prebuilt')}"
    ) from error

__all__ = ["np"]
