"""The loaded llama.cpp library: its build, its devices and its log."""

from __future__ import annotations

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

import paragone_llama_cpp.build.packages  # noqa: F401 (reports a missing package before another import fails)
from paragone.cores import OPENMP
from paragone_llama_cpp.c_api.functions import Size, lib
from paragone_llama_cpp.c_api.loading import BuildName, InstalledBuild, load_build
from paragone_llama_cpp.c_api.structures import LogCallback

_ERROR = 4  # enum ggml_log_level: 1 debug, 2 info, 3 warning, 4 error, 5 continuation of the previous line
_GPUS = (1, 2)  # enum ggml_backend_dev_type: GPU with its own memory, GPU with the host's memory
os.environ.setdefault("GGML_NO_BACKTRACE", "1")
"""Without this variable, an aborting ggml starts a debugger, which prints a long stack trace after the error."""

for _name, _value in OPENMP.items():  # the library reads these variables when it is loaded
    os.environ.setdefault(_name, _value)

_LOG_PREFIX = re.compile(r"^(\w+: )+(error loading model: )?(\w+: )*")
"""Prefix of an error message: the names of the functions that passed the message on."""

_lines: deque[tuple[int, str]] = deque(maxlen=10_000)


def _log(level: int, text: bytes, _: object) -> None:
    line = text.decode("utf-8", "replace")
    if level > 1:
        sys.stderr.write(line)
    _lines.append((level, " ".join(line[:300].split())))


_callback = LogCallback(_log)  # kept here, because the library keeps no reference to the callback


def load(name: BuildName | None = None) -> InstalledBuild:
    """Load the named build of llama.cpp, or the preferred build if none is loaded. Returns the loaded build.

    Raises InputError if the build is not installed, and EngineError if the build cannot be used.
    """
    build = load_build(name)
    lib.llama_log_set(_callback, None)
    _print_build(build)
    return build


def _system_info() -> str:
    return " ".join(lib.llama_print_system_info().decode().split()).rstrip(" |")


@functools.cache
def _print_build(build: InstalledBuild) -> None:
    """Print the build and its instruction sets. `CRASH_CAUSES` has a pattern for this line of a worker's log."""
    sys.stderr.write(f"{build}: {_system_info()}\n")


class Log:
    """The library's log lines during one operation."""

    def __init__(self) -> None:
        _lines.clear()

    def error(self) -> str:
        """Return the first error, which is the cause of the later errors."""
        errors = (line for level, line in _lines if level == _ERROR and line)
        return _LOG_PREFIX.sub("", next(errors, "no reason given")).rstrip(".")

    def find(self, pattern: str) -> re.Match[str] | None:
        """Return the first match of the pattern in a line, ignoring case."""
        return next((found for _, line in _lines if (found := re.search(pattern, line, re.IGNORECASE))), None)


def log_lines() -> list[str]:
    """Return the library's log lines since the last `Log` was created, at most 10,000."""
    return [line for _, line in _lines]


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
    """A device that llama.cpp can compute on."""

    name: str
    title: str
    gpu: bool
    free: int
    """Free memory in bytes."""
    total: int


def devices() -> list[Device]:
    """Return the devices of this machine that this build can compute on."""
    return [_device(Size(index)) for index in range(lib.ggml_backend_dev_count())]


def offloads() -> bool:
    """Whether there is a GPU that the library was built to use."""
    return bool(lib.llama_supports_gpu_offload()) and any(device.gpu for device in devices())


def has_nvidia_gpu() -> bool:
    """Whether the machine has an NVIDIA driver."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def facts() -> dict[str, str]:
    """Return the library's versions, build flags and devices."""
    build = load()
    found = {
        "library": f"{build}, {build.name}",
        "llama.cpp": lib.llama_version().decode(),
        "build": _system_info(),
        "devices": ", ".join(f"{device.name} ({device.title})" for device in devices()),
    }
    gpus = [device.title for device in devices() if device.gpu and not device.name.startswith("RPC")]
    if gpus:
        found["GPU"] = ", ".join(gpus)
    elif has_nvidia_gpu():
        found["GPU"] = "this machine has an NVIDIA GPU, but the library was built for the CPU only"
    else:
        found["GPU"] = "none found"
    return found


def _device(index: Size) -> Device:
    pointer = lib.ggml_backend_dev_get(index)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    lib.ggml_backend_dev_memory(pointer, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=lib.ggml_backend_dev_name(pointer).decode("utf-8", "replace"),
        title=lib.ggml_backend_dev_description(pointer).decode("utf-8", "replace"),
        gpu=lib.ggml_backend_dev_type(pointer) in _GPUS,
        free=free.value,
        total=total.value,
    )
