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


def _environment(
    module: str, *requirements: str, torch_of_cuda_12: str, pythons: tuple[str, ...]
) -> Environment:
    """Return the environment of the library `module`, with these requirements besides PyTorch."""
    return Environment(
        builds=(
            Build(
                cuda="13",
                driver=580,
                requirements=(
                    *requirements,
                    "torch==2.11.0",
                    "cuda-toolkit[cccl,crt,nvcc,nvvm]==13.0.2",
                    *_TOOLS,
                ),
                download=2_900_000_000,
                disk=5_500_000_000,
                toolkit="nvidia/cu13",
            ),
            Build(
                cuda="12",
                driver=525,
                requirements=(*requirements, f"torch=={torch_of_cuda_12}", *_TOOLS),
                download=4_100_000_000,
                disk=8_500_000_000,
            ),
        ),
        pythons=pythons,
        modules=("torch", module),
        compiles=True,
    )


EXLLAMAV2 = _environment(
    "exllamav2",
    "exllamav2==0.3.2",
    "numpy==1.26.4",
    "tokenizers>=0.21.1,<1",
    torch_of_cuda_12="2.8.0",
    pythons=("3.12", "3.11"),  # the newest Python for which numpy 1.26 has wheels
)
EXLLAMAV3 = _environment(
    "exllamav3", "exllamav3==1.6.5", torch_of_cuda_12="2.10.0", pythons=("3.12", "3.13", "3.11")
)
