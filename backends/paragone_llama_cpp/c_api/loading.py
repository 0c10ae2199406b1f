"""Find the installed builds of llama.cpp, and load one of them into this process.

The build `native` is compiled on this machine; the build `prebuilt` runs everywhere. `load_build` checks that the
structures of a build are those that `structures` declares.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final, Literal, TypeAlias

from paragone import EngineError, InputError
from paragone.installation import install_command
from paragone_llama_cpp.c_api.functions import lib

BuildName: TypeAlias = Literal["native", "prebuilt"]

_PACKAGES: Final[dict[BuildName, tuple[str, str, Sequence[str]]]] = {
    "native": ("llama-cpp-python", "llama_cpp", ("lib/libllama.so", "lib/libllama.dylib", "lib/llama.dll")),
    "prebuilt": ("xllamacpp", "xllamacpp", ("xllamacpp*.so", "xllamacpp*.pyd")),
}
"""For each build: its distribution, its package, and patterns of its library's file. The preferred build is first."""

_EXTRAS: Final[dict[BuildName, str]] = {"native": "llama-cpp", "prebuilt": "llama-cpp-prebuilt"}
"""paragone's extra that installs each build."""


@dataclass(frozen=True, slots=True)
class InstalledBuild:
    """An installed build of llama.cpp."""

    name: BuildName
    """`native` was compiled for this machine's processor or GPU, `prebuilt` for any processor with AVX2 (on x86-64)."""
    distribution: str
    file: Path
    """The shared library."""

    @property
    def version(self) -> str:
        """The version of the distribution."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return "unknown"

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def installed_builds() -> list[InstalledBuild]:
    """Return the builds that this interpreter has, the preferred build first. Imports no package of a build."""
    found = []
    for name, (distribution, package, patterns) in _PACKAGES.items():
        spec = PathFinder.find_spec(package, sys.path)
        folders = (spec and spec.submodule_search_locations) or ()
        files = (file for folder in folders for pattern in patterns for file in Path(folder).glob(pattern))
        if (file := next(files, None)) is not None:
            found.append(InstalledBuild(name, distribution, file))
    return found


_MODEL: Final = {
    "n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "main_gpu": 0,
    "vocab_only": False, "check_tensors": False, "use_extra_bufts": True, "no_host": False, "no_alloc": False,
    "load_mtp": False,
}  # fmt: skip
_CONTEXT: Final = {
    "n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_rs_seq": 0, "n_outputs_max": 0,
    "n_outputs_max_per_seq": 1, "n_threads": 4, "n_threads_batch": 4, "ctx_type": 0, "rope_scaling_type": -1,
    "pooling_type": -1, "attention_type": -1, "flash_attn_type": -1, "rope_freq_base": 0.0,
    "rope_freq_scale": 0.0, "yarn_ext_factor": -1.0, "yarn_attn_factor": -1.0, "yarn_beta_fast": -1.0,
    "yarn_beta_slow": -1.0, "yarn_orig_ctx": 0, "defrag_thold": -1.0, "type_k": 1, "type_v": 1,
    "embeddings": False, "offload_kqv": True, "no_perf": True, "op_offload": True, "swa_full": True,
    "kv_unified": False, "n_samplers": 0,
}  # fmt: skip
"""Default parameters of the declared structures. The pointers that are not named here are null."""

_loaded: InstalledBuild | None = None


def load_build(name: BuildName | None = None) -> InstalledBuild:
    """Load the named build, or the preferred build, into this process, where it stays loaded. Returns the build.

    Raises InputError if the build is not installed, and EngineError if the build cannot be used.
    """
    global _loaded
    if _loaded is not None and name in (None, _loaded.name):
        return _loaded
    build = next((build for build in installed_builds() if name in (None, build.name)), None)
    if build is None:
        what = f"The {name} build of llama.cpp" if name else "llama.cpp"
        command = install_command(_EXTRAS[name or "prebuilt"])
        raise InputError(f"{what} is not installed.", hint=f"Install it with: {command}")
    if _loaded is not None:
        raise EngineError(f"This process has already loaded {_loaded}, so it cannot load {build}.")
    try:
        library = ctypes.CDLL(str(build.file))
    except OSError as error:
        again = install_command(_EXTRAS[build.name], "--force-reinstall", "--no-deps")
        raise EngineError(
            f"{build} cannot be loaded: {error}.", hint=f"Install this build again with: {again}"
        ) from error
    problems = [f"has no function {function}" for function in lib.bind(library)] or list(_differences())
    if problems:
        raise EngineError(
            f"This version of paragone cannot use {build}, whose llama.cpp {_some(problems)}.",
            hint=f"Install the version that paragone can use: {install_command(_EXTRAS[build.name])}",
        )
    _loaded = build
    return build


def _differences() -> Iterator[str]:
    """Describe the library's default parameters that differ from `_MODEL` and `_CONTEXT`.

    If the library's structure has an additional field, the values after that field are read from wrong offsets.
    """
    for what, params, expected in (
        ("model", lib.llama_model_default_params(), _MODEL),
        ("context", lib.llama_context_default_params(), _CONTEXT),
    ):
        for field in params._fields_:
            value, usual = getattr(params, field[0]), expected.get(field[0])
            if bool(value) if usual is None else value != usual:
                yield f"has other default parameters of a {what} ({field[0]})"
    if not lib.llama_sampler_chain_default_params().no_perf:
        yield "has other default parameters of a sampler chain (no_perf)"


def _some(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else f"{problems[0]}, and {len(problems) - 1} more differences"
