"""The CUDA toolkit that an environment brings: made whole, and found by what compiles in it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["chosen_home", "settle"]

_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
"""What PyTorch finds a toolkit by (`torch.utils.cpp_extension`), the first before the second."""


def chosen_home() -> str | None:
    """Return the folder of the CUDA toolkit that the user has chosen, if any."""
    return next((chosen for name in _VARIABLES if (chosen := os.environ.get(name))), None)


def settle(folder: Path, toolkit: str) -> None:
    """Have what runs in an environment compile with the toolkit in it, unless the user has chosen another.

    `toolkit` is where the wheels put it, below `site-packages`.
    """
    (packages,) = folder.glob("lib/python3*/site-packages")
    home = packages / toolkit
    for runtime in home.glob("lib/libcudart.so.*"):  # the wheels leave out the name that linkers look for
        (home / "lib" / "libcudart.so").symlink_to(runtime.name)
    # The interpreter runs such a line whenever it starts. So the engine's worker is told, and the check, and
    # also a pip that compiles what the user adds.
    (packages / "paragone_cuda.pth").write_text(
        f"import os; any(map(os.environ.get, {_VARIABLES})) or os.environ.update(CUDA_HOME={str(home)!r})\n"
    )
