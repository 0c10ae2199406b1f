"""Import numpy, or raise an error that says how to install numpy. Only measurements of distributions need this module."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from paragone import InputError
from paragone.installation import install_command

try:
    import numpy as np
except ModuleNotFoundError as error:
    if error.name != "numpy":
        raise
    raise InputError(
        "Measuring fidelity needs the package numpy, which is not installed.",
        hint=f"Install it with: {install_command('fidelity')}",
    ) from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Values", "np"]

Values: TypeAlias = "NDArray[np.float64]"
"""An array of numbers in double precision."""
