"""The environment variables that the processes of local engines inherit.

A process inherits only the variables of this list, so that it receives no keys of servers.
"""

from __future__ import annotations

import os
import re

_ADDED = "PARAGONE_PASS_ENV"
"""The variable in which users list more variables to inherit, separated by commas.

`NAME_*` means all variables that begin with `NAME_`.
"""

_SYSTEM = (
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TERM NO_COLOR TMPDIR TMP TEMP XDG_* "
    "LD_LIBRARY_PATH LD_PRELOAD DYLD_* MALLOC_* GLIBC_TUNABLES LOCPATH NIX_* PYTHON* VIRTUAL_ENV PARAGONE_*"
)
_COMPUTING = (
    "OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* GOTO_* BLIS_* VECLIB_* NUMEXPR_* NUMBA_* "
    "CUDA_* CUDART_* NVIDIA_* NCCL_* CUBLAS_* HIP_* ROCM_* ROCR_* HSA_* AMD_* GPU_* RADV_* "
    "VK_* MESA_* SYCL_* ONEAPI_* ZE_* LEVEL_ZERO_* OCL_* METAL_* MTL_* ASCEND_* MUSA_*"
)
_LIBRARIES = (
    "GGML_* LLAMA_CACHE LLAMA_LOG_* LLAMA_CPP_* XLLAMACPP_* MTMD_* TORCH_* PYTORCH_* TRITON_* EXLLAMA* EXL2_* EXL3_* "
    "HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE TRANSFORMERS_CACHE TOKENIZERS_* SAFETENSORS_*"
)
_COMPILING = "CC CXX CPP CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBRARY_PATH CPATH *_INCLUDE_PATH MAX_JOBS NINJA_STATUS NVCC_*"

_SECRET = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)", re.IGNORECASE)
"""Names of variables that are excluded even if a wildcard of this list matches."""


def passed_variables() -> dict[str, str]:
    """Return those of this process's variables that an engine's process inherits."""
    own = " ".join((_SYSTEM, _COMPUTING, _LIBRARIES, _COMPILING))
    listed = _pattern(own.split())
    added = _pattern([name for name in re.split(r"[,\s]+", os.environ.get(_ADDED, "")) if name])
    return {
        name: value
        for name, value in os.environ.items()
        if added.fullmatch(name) or (listed.fullmatch(name) and not _SECRET.search(name))
    }


def _pattern(names: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in names) or r"(?!)")
