"""Completes the CUDA toolkit in an environment, and makes compilations in the environment use this toolkit."""

from __future__ import annotations

import os
from pathlib import Path

_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
"""Variables by which PyTorch (`torch.utils.cpp_extension`) finds a toolkit, in this order."""


def chosen_home() -> str | None:
    """Return the folder of the CUDA toolkit that the user's environment variables name, if any."""
    return next((chosen for name in _VARIABLES if (chosen := os.environ.get(name))), None)


def use_toolkit(folder: Path, toolkit: str) -> None:
    """Make compilations in an environment use the environment's toolkit, unless the user has chosen another toolkit.

    `toolkit` is the toolkit's folder, relative to `site-packages`.
    """
    (packages,) = folder.glob("lib/python3*/site-packages")
    home = packages / toolkit
    for runtime in home.glob("lib/libcudart.so.*"):  # the wheels lack the name that linkers use
        (home / "lib" / "libcudart.so").symlink_to(runtime.name)
    # Python runs this line at each start: in the engine's worker, in the check, and in pip when it compiles
    # packages that the user installs.
    (packages / "paragone_cuda.pth").write_text(
        f"import os; any(map(os.environ.get, {_VARIABLES})) or os.environ.update(CUDA_HOME={str(home)!r})\n"
    )
