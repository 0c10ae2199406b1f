"""Find out whether a library is usable in this interpreter, and if not, why and what to do.

The probe checks only files and the driver. Importing PyTorch and the library would take seconds, or
minutes if the library has to be compiled.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from paragone import EngineError, Probe
from paragone.texts import installed_version, size_text
from paragone.worker import Build
from paragone_exllama.exllama_options import EXLLAMAV2, EXLLAMAV3

AMPERE = (8, 0)
"""The compute capability of the oldest GPUs that flash-attn runs on."""

_UNINITIALIZED_REASONS = {
    9: "the NVIDIA driver is not loaded",
    18: "the NVIDIA driver was updated and the machine has not been restarted since",
}


class NvidiaGpu(NamedTuple):
    """One GPU, or one part (MIG) of a GPU. Memory is in bytes; 0 if the driver does not report it."""

    name: str
    uuid: str
    capability: tuple[int, int]
    """Compute capability, such as (8, 6)."""
    total: int
    free: int


class Driver(NamedTuple):
    version: str
    cuda: tuple[int, int]
    """The newest CUDA version that the driver supports."""
    gpus: tuple[NvidiaGpu, ...]


@contextmanager
def _nvml() -> Iterator[ctypes.CDLL]:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise OSError("there is no NVIDIA driver on this machine") from None
    if code := nvml.nvmlInit_v2():
        raise OSError(
            _UNINITIALIZED_REASONS.get(code, f"the NVIDIA driver does not answer (NVML error {code})")
        )
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def query_driver() -> Driver:
    """Query the driver. Raises OSError, with the reason, if there is no working NVIDIA driver."""
    with _nvml() as nvml:
        cuda, count = ctypes.c_int(), ctypes.c_uint()
        nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda))
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        handles = [ctypes.c_void_p() for _ in range(count.value)]
        for index, handle in enumerate(handles):
            nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
        return Driver(
            version=_text(nvml.nvmlSystemGetDriverVersion),
            cuda=(cuda.value // 1000, cuda.value % 1000 // 10),
            gpus=tuple(_gpu(nvml, handle) for handle in handles),
        )


def visible(gpus: tuple[NvidiaGpu, ...]) -> tuple[NvidiaGpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, in the order of this variable. As in CUDA, the list ends at the
    first entry that is not a GPU."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    chosen: list[NvidiaGpu] = []
    for entry in wanted.split(","):
        name = entry.strip()
        if name.isdecimal() and int(name) < len(gpus):
            chosen.append(gpus[int(name)])
        elif name.startswith("GPU-") and (found := [gpu for gpu in gpus if gpu.uuid.startswith(name)]):
            chosen.append(found[0])
        elif name.startswith("MIG-") and (part := _part(name)) is not None:
            chosen.append(part)
        else:
            break
    return tuple(chosen)


def visible_gpus() -> tuple[NvidiaGpu, ...]:
    """Return the NVIDIA GPUs that this process may use; none without a driver."""
    try:
        return visible(query_driver().gpus)
    except OSError:
        return ()


def _part(uuid: str) -> NvidiaGpu | None:
    handle = ctypes.c_void_p()
    with _nvml() as nvml:
        if nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
            return None
        part = _gpu(nvml, handle)
    # The driver does not report the compute capability of MIG parts. GPUs before Ampere have no MIG.
    return part if part.capability > (0, 0) else part._replace(capability=AMPERE)


def _gpu(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> NvidiaGpu:
    major, minor, memory = (
        ctypes.c_int(),
        ctypes.c_int(),
        (ctypes.c_ulonglong * 3)(),
    )  # total, free and used bytes
    nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    # For GPUs that share the machine's memory, the driver reports no memory.
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return NvidiaGpu(
        name=_text(nvml.nvmlDeviceGetName, handle),
        uuid=_text(nvml.nvmlDeviceGetUUID, handle),
        capability=(major.value, minor.value),
        total=memory[0],
        free=memory[1],
    )


def _text(function: Callable[..., object], *arguments: object) -> str:
    buffer = ctypes.create_string_buffer(96)
    function(*arguments, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")


_CHECK_INTERVAL = 0.2
"""Seconds between two checks for running compilers."""


def extension_folder(library: str, cuda: str) -> Path:
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    if root is None:  # the same default as in torch.utils.cpp_extension
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        tag = f"py{sys.version_info.major}{sys.version_info.minor}{sys.abiflags}_cu{cuda.replace('.', '')}"
        root = str(Path(cache, "torch_extensions", tag))
    return Path(root, f"{library}_ext")


def release_lock(folder: Path) -> None:
    """Delete the lock of an extension's folder if the process that created the lock is gone. Waits for compilers that
    the killed process has left running."""
    folder = folder.resolve()
    lock = folder / "lock"
    if not lock.exists() or _is_used("fd/*", lock):
        return
    while _is_used("cwd", folder):
        time.sleep(_CHECK_INTERVAL)
    lock.unlink(missing_ok=True)


def _is_used(links: str, path: Path) -> bool:
    for link in glob.iglob(f"/proc/[0-9]*/{links}"):  # noqa: PTH207 (which raises if a process ends meanwhile)
        with contextlib.suppress(OSError):  # the process belongs to another user, or has ended
            if os.readlink(link) == str(path):  # noqa: PTH115
                return True
    return False


_FLASH_ATTN = (2, 5, 7)
"""The first version of flash-attn with paged attention."""


def probe(library: str, title: str) -> Probe:
    """Check for PyTorch, a GPU, the library and its compiled extension, in this order."""
    facts = {"interpreter": sys.executable}
    remedy = f"Run: paragone env create {library}."
    try:
        version, cuda, hip = _torch(title, remedy)
        facts["PyTorch"] = version
        if _folder(library) is None:
            raise EngineError(f"{title} is not installed in {sys.executable}.", hint=remedy)
        facts[title] = installed_version(library) or "unknown"
        if cuda is not None:
            facts["CUDA of PyTorch"] = cuda
            driver = _driver(cuda, library, title)
            gpus = visible(driver.gpus)
            facts["driver"] = f"{driver.version}, for CUDA up to {_dotted(driver.cuda)}"
            facts["GPUs"] = ", ".join(
                f"{gpu.name} ({size_text(gpu.total)})" if gpu.total else gpu.name for gpu in gpus
            )
            facts["compiled part"] = _compiled(library, title, version, cuda, newest=driver.cuda[0])
            if library == "exllamav2":
                facts["attention"] = _attention(min(gpu.capability for gpu in gpus))
        elif not Path("/dev/kfd").exists():
            raise EngineError(
                f"{title} finds no GPU: its PyTorch was built for AMD GPUs, and this machine has none.",
                hint="Open the model on a machine that has an AMD GPU.",
            )
        else:
            facts["ROCm of PyTorch"] = str(hip)
    except EngineError as error:
        return Probe(usable=False, reason=error.message, remedy=error.hint, facts=facts)
    return Probe(usable=True, facts=facts)


def _attention(capability: tuple[int, int]) -> str:
    unpaged = "unpaged, so that only the latest conversation is kept in the cache"
    found = installed_version("flash-attn")
    if found is None:
        return f"{unpaged}: flash-attn is not installed"
    if tuple(int(part) for part in re.findall(r"\d+", found)[:3]) < _FLASH_ATTN:
        return f"{unpaged}: flash-attn {found} is older than {_dotted(_FLASH_ATTN)}"
    if capability < AMPERE:
        return f"{unpaged}: flash-attn needs GPUs of the Ampere generation or newer"
    return f"paged, by flash-attn {found}"


def _torch(title: str, remedy: str) -> tuple[str, str | None, str | None]:
    """Return the version of PyTorch, and of CUDA or ROCm that it was built for. Raises EngineError."""
    folder = _folder("torch")
    if folder is None:
        raise EngineError(f"{title} needs PyTorch, which is not installed in {sys.executable}.", hint=remedy)
    text = ""
    with contextlib.suppress(OSError):
        text = (folder / "version.py").read_text("utf-8", "replace")
    # the strings that the module assigns to names at its top level
    stated = dict(re.findall(r"""^(\w+)(?:: [^=\n]+)? = ['"]([^'"\n]*)['"]""", text, re.MULTILINE))
    version, cuda, hip = stated.get("__version__") or "unknown", stated.get("cuda"), stated.get("hip")
    if cuda is None and hip is None:
        raise EngineError(
            f"The PyTorch {version} in {sys.executable} was built for the CPU only; "
            f"{title} needs a PyTorch with CUDA.",
            hint=remedy,
        )
    return version, cuda, hip


def _driver(cuda: str, library: str, title: str) -> Driver:
    elsewhere = f"{title} computes on NVIDIA GPUs only; open the model on a machine that has an NVIDIA GPU."
    try:
        driver = query_driver()
    except OSError as error:
        raise EngineError(f"{title} finds no GPU: {error}.", hint=elsewhere) from error
    if not driver.gpus:
        raise EngineError(f"{title} finds no GPU: the NVIDIA driver lists none.", hint=elsewhere)
    if not visible(driver.gpus):
        raise EngineError(
            f"{title} finds no GPU: CUDA_VISIBLE_DEVICES hides all {len(driver.gpus)} of this machine.",
            hint="Unset this variable, or set it to the numbers of GPUs, such as 0.",
        )
    major = int(cuda.partition(".")[0])
    if driver.cuda[0] < major:
        raise EngineError(
            f"The NVIDIA driver {driver.version} supports CUDA up to {_dotted(driver.cuda)}, but the PyTorch "
            f"in {sys.executable} was built for CUDA {cuda}.",
            hint=f"Update the driver{_another(library, driver.cuda[0])}.",
        )
    return driver


def _compiled(library: str, title: str, torch: str, cuda: str, *, newest: int) -> str:
    """Describe the origin of the library's CUDA and C++ extension. `torch` is PyTorch's version, `cuda` the version of
    CUDA that it was built for, and `newest` the newest major version of CUDA that the driver supports."""
    extension = f"{library}_ext"
    if PathFinder.find_spec(extension) is not None:
        return "installed with the library"
    folder = extension_folder(library, cuda)
    compiler = _nvcc()
    prebuilt = f"or a wheel of {title} that is compiled for PyTorch {torch.partition('+')[0]}"
    part = f"The part of {title} that runs on the GPU"
    built = (folder / f"{extension}.so").exists()
    if compiler is None:
        state = (
            f"{part} was compiled, but PyTorch needs the CUDA compiler (nvcc) to load it, which is missing."
            if built
            else f"{part} has not been compiled yet, and there is no CUDA compiler (nvcc)."
        )
        brings = [build for build in _builds(library) if build.toolkit and int(build.cuda) <= newest]
        anew = f"{_another(library, int(brings[0].cuda))}, which brings the compiler" if brings else ""
        raise EngineError(state, hint=f"Install the CUDA {cuda} toolkit, {prebuilt}{anew}.")
    if built:
        return f"compiled on this machine, in {folder.parent}"
    missing = f"{part} has not been compiled yet, and"
    if shutil.which("c++") is None and shutil.which("g++") is None:
        raise EngineError(f"{missing} there is no C++ compiler.", hint=f"Install g++, {prebuilt}.")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        raise EngineError(
            f"{missing} the required headers of {python} (Python.h) are missing.",
            hint=f"Install the headers (python{sys.version_info.major}.{sys.version_info.minor}-dev), {prebuilt}.",
        )
    release = _release(compiler)
    if release and release.partition(".")[0] != cuda.partition(".")[0]:
        raise EngineError(
            f"{missing} the CUDA compiler is of CUDA {release}, but PyTorch was built for CUDA {cuda}.",
            hint=f"Install the CUDA {cuda} toolkit{_another(library, int(release.partition('.')[0]))}.",
        )
    return f"will be compiled by {compiler} when a model is first opened, which takes some minutes"


def _builds(library: str) -> Sequence[Build]:
    return (EXLLAMAV2 if library == "exllamav2" else EXLLAMAV3).builds


def _another(library: str, cuda: int) -> str:
    there = {build.cuda for build in _builds(library)}
    return f", or run: paragone env create {library} --cuda {cuda}" if str(cuda) in there else ""


def _nvcc() -> str | None:
    for home in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")):
        if home and Path(home, "bin", "nvcc").exists():
            return str(Path(home, "bin", "nvcc"))
    usual = Path("/usr/local/cuda/bin/nvcc")
    return shutil.which("nvcc") or (str(usual) if usual.exists() else None)


def _release(nvcc: str) -> str | None:
    """Return the CUDA version of a compiler; None if the compiler reports none."""
    try:
        output = subprocess.run(
            [nvcc, "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"release (\d+\.\d+)", output)
    return found[1] if found else None


def _folder(package: str) -> Path | None:
    spec = PathFinder.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
