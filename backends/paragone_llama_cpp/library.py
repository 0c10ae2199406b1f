"""The loaded llama.cpp library: its build, its devices, its log, and the processor's instruction sets that it uses."""

import ctypes
import functools
import os
import re
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone.texts import install_command
from paragone.threads import OPENMP
from paragone_llama_cpp import c_api
from paragone_llama_cpp.llama_cpp_options import FLAGS_WITHOUT_AMX

__all__ = ["np"]  # other modules import numpy from here, for the message about a missing package


# numpy's OpenBLAS would start a thread for each core, and the threads spin at first. paragone needs no such threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

try:
    import jinja2  # noqa: F401
    import numpy as np
except ModuleNotFoundError as error:
    if error.name not in ("jinja2", "numpy"):
        raise
    missing = f"llama.cpp needs the package {error.name}, which" if c_api.installed_builds() else "llama.cpp"
    raise InputError(
        f"{missing} is not installed.",
        hint=f"Install it with: {install_command(*c_api.REQUIRED['prebuilt'])}",
    ) from error


_ERROR = 4  # enum ggml_log_level: 1 debug, 2 info, 3 warning, 4 error, 5 continuation of the previous line
_GPUS = (1, 2)  # enum ggml_backend_dev_type: GPU with its own memory, GPU with the host's memory
os.environ.setdefault("GGML_NO_BACKTRACE", "1")
"""Without this variable, an aborting ggml starts a debugger, which prints a long stack trace after the error."""

for _name, _value in OPENMP.items():  # the library reads these variables when it is loaded
    os.environ.setdefault(_name, _value)

_LOG_PREFIX = re.compile(r"^(\w+: )+(error loading model: )?(\w+: )*")

_lines: deque[tuple[int, str]] = deque(maxlen=10_000)


def _log(level: int, text: bytes, _: object) -> None:
    line = text.decode("utf-8", "replace")
    if level > 1:
        sys.stderr.write(line)
    _lines.append((level, " ".join(line[:300].split())))


_callback = c_api.LogCallback(_log)  # kept here, because the library keeps no reference to the callback


def load(name: c_api.BuildName | None = None) -> c_api.InstalledBuild:
    """Load the named build of llama.cpp, or the preferred build if none is loaded. Returns the loaded build. Raises
    InputError if the build is not installed, and EngineError if the build cannot be used."""
    build = c_api.load_build(name)
    c_api.lib.llama_log_set(_callback, None)
    _print_build(build)
    return build


def _system_info() -> str:
    return " ".join(c_api.lib.llama_print_system_info().decode().split()).rstrip(" |")


@functools.cache
def _print_build(build: c_api.InstalledBuild) -> None:
    """Print the build and its instruction sets. `CRASH_CAUSES` has a pattern for this line of a worker's log."""
    sys.stderr.write(f"{build}: {_system_info()}\n")


def clear_log() -> None:
    _lines.clear()


def log_lines() -> list[str]:
    """Return the library's log lines since the last `clear_log`, at most 10,000."""
    return [line for _, line in _lines]


def logged_error() -> str:
    """Return the first error in the log."""
    errors = (line for level, line in _lines if level == _ERROR and line)
    return _LOG_PREFIX.sub("", next(errors, "no reason given")).rstrip(".")


def find_in_log(pattern: str) -> re.Match[str] | None:
    return next((found for line in log_lines() if (found := re.search(pattern, line, re.IGNORECASE))), None)


@contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Collect the lines that the library prints to stderr instead of its log, and print these lines afterwards."""
    lines: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            text = file.read()
            os.write(2, text)
            lines += text.decode("utf-8", "replace").splitlines()


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    title: str
    gpu: bool
    free: int
    """Free memory in bytes."""
    total: int


def devices() -> list[Device]:
    found = []
    for index in range(c_api.lib.ggml_backend_dev_count()):
        pointer = c_api.lib.ggml_backend_dev_get(c_api.Size(index))
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        c_api.lib.ggml_backend_dev_memory(pointer, ctypes.byref(free), ctypes.byref(total))
        device = Device(
            name=c_api.lib.ggml_backend_dev_name(pointer).decode("utf-8", "replace"),
            title=c_api.lib.ggml_backend_dev_description(pointer).decode("utf-8", "replace"),
            gpu=c_api.lib.ggml_backend_dev_type(pointer) in _GPUS,
            free=free.value,
            total=total.value,
        )
        found.append(device)
    return found


def supports_gpu_offload() -> bool:
    return bool(c_api.lib.llama_supports_gpu_offload()) and any(device.gpu for device in devices())


def has_nvidia_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def facts() -> dict[str, str]:
    build = load()
    found = {
        "library": f"{build}, {build.name}",
        "llama.cpp": c_api.lib.llama_version().decode(),
        "build": _system_info(),
        "devices": ", ".join(f"{device.name} ({device.title})" for device in devices()),
    }
    gpus = [device.title for device in devices() if device.gpu and not device.name.startswith("RPC")]
    unused = "this machine has an NVIDIA GPU, but the library was built for the CPU only"
    found["GPU"] = ", ".join(gpus) or (unused if has_nvidia_gpu() else "none found")
    return found


_NOT_INSTRUCTIONS = frozenset({"LLAMAFILE", "OPENMP", "REPACK", "ACCELERATE", "KLEIDIAI"})

_FLAGS = {
    "avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI", "avx512_vbmi": "AVX512_VBMI", "avx512_bf16": "AVX512_BF16",
    "avx_vnni": "AVX_VNNI", "asimddp": "DOTPROD", "i8mm": "MATMUL_INT8", "sve": "SVE",
}  # fmt: skip
"""Instruction sets that a native build uses if the processor has them: their names in Linux and in llama.cpp."""


def features(system_info: str) -> list[str]:
    """Return the names of the features that are on in llama.cpp's system information, such as `AVX2` and `REPACK`."""
    return re.findall(r"(\w+) = 1\b", system_info)


def instructions(system_info: str) -> list[str]:
    """Return the names of the instruction sets in llama.cpp's system information, such as `AVX2`."""
    return [name for name in features(system_info) if name not in _NOT_INSTRUCTIONS]


def other_build(build: c_api.InstalledBuild, used: list[str], cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Describe the build other than `build`: its speed, and how to choose or install it. `used` are the instruction sets
    that `build` uses."""
    others = [other for other in c_api.installed_builds() if other.name != build.name]
    if build.name == "native":
        if others:
            return f"prebuilt: {others[0]}, slower on the CPU; choose it with the option build=prebuilt"
        return "prebuilt: needs no compiler, and is slower on the CPU"
    text = cpuinfo.read_text() if cpuinfo.exists() else ""  # Linux's names of the processor's features
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    flags = found[1].split() if found else []
    more = [name for flag, name in _FLAGS.items() if flag in flags and name not in used]
    gain = f"with {', '.join(more)}, faster on the CPU" if more else "not faster on this processor"
    if others:  # this build is in use because the option `build` names it
        return f"native: {others[0]}, {gain}; choose it with the option build=native"
    clone = Path(__file__).parents[2]
    if (clone / "Makefile").exists():
        how = f", run `make native` in {clone}."
    else:
        how = f": {FLAGS_WITHOUT_AMX} " if "amx_tile" in flags else ": "
        how += install_command(*c_api.REQUIRED["native"])
    return f"native: compiled for this machine, {gain}; needs a C++ compiler. To install it{how}"
