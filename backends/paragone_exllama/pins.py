"""The pinned requirements of the two libraries' environments.

ExLlamaV2's last release was built with numpy 1.26; ExLlamaV3 needs numpy 2.1 or newer. PyTorch 2.8
and 2.10 are built with CUDA 12.8, PyTorch 2.11 with CUDA 13.0. The wheel of ExLlamaV2 does not
declare `tokenizers`, which it imports. jinja2 renders chat templates.

Both libraries compile their CUDA extension when they are first imported. The package registry has the
compiler for CUDA 13, in the version of the CUDA libraries that PyTorch 2.11 requires. The registry lacks
the compiler for CUDA 12: `nvidia-cuda-nvcc-cu12` contains `ptxas`, but not `nvcc`.
"""

from __future__ import annotations

from paragone.worker import Build, Environment

_TOOLS = ("jinja2>=3.1.6,<4", "ninja", "setuptools<81")
_NVCC_13 = "cuda-toolkit[cccl,crt,nvcc,nvvm]==13.0.2"
_TOOLKIT_13 = "nvidia/cu13"

EXLLAMAV2 = Environment(
    builds=(
        Build(
            cuda="13",
            driver=580,
            requirements=(
                "exllamav2==0.3.2",
                "torch==2.11.0",
                "numpy==1.26.4",
                "tokenizers>=0.21.1,<1",
                _NVCC_13,
                *_TOOLS,
            ),
            download=2_900_000_000,
            disk=5_500_000_000,
            toolkit=_TOOLKIT_13,
        ),
        Build(
            cuda="12",
            driver=525,
            requirements=(
                "exllamav2==0.3.2",
                "torch==2.8.0",
                "numpy==1.26.4",
                "tokenizers>=0.21.1,<1",
                *_TOOLS,
            ),
            download=4_100_000_000,
            disk=8_500_000_000,
        ),
    ),
    pythons=("3.12", "3.11"),  # the newest Python for which numpy 1.26 has wheels
    modules=("torch", "exllamav2"),
    compiles=True,
)

EXLLAMAV3 = Environment(
    builds=(
        Build(
            cuda="13",
            driver=580,
            requirements=("exllamav3==1.6.5", "torch==2.11.0", _NVCC_13, *_TOOLS),
            download=2_900_000_000,
            disk=5_500_000_000,
            toolkit=_TOOLKIT_13,
        ),
        Build(
            cuda="12",
            driver=525,
            requirements=("exllamav3==1.6.5", "torch==2.10.0", *_TOOLS),
            download=4_100_000_000,
            disk=8_500_000_000,
        ),
    ),
    pythons=("3.12", "3.13", "3.11"),
    modules=("torch", "exllamav3"),
    compiles=True,
)
