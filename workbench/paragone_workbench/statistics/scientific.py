"""Import numpy and scipy, or raise an error that says how to install these packages. Only experiments and ratings need this module.

scipy imports `scipy.stats`, which takes half a second, when it is first used.
"""

from __future__ import annotations

from paragone import InputError
from paragone.installation import install_command

try:
    import numpy as np
    import scipy
except ModuleNotFoundError as error:
    if error.name not in ("numpy", "scipy"):
        raise
    raise InputError(
        f"Intervals and tests need the package {error.name}, which is not installed.",
        hint=f"Install it with: {install_command('experiments')}",
    ) from error

from paragone_workbench.statistics.numeric import Values

__all__ = ["Values", "np", "scipy"]
