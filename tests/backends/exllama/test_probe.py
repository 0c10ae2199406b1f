"""Why an engine is not usable, from probes in a worker; the lock of a compilation; the requirements of environments."""

import os
import select
import signal
import subprocess
import sys
from email.parser import Parser
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from paragone_exllama import probe
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend

V2 = ExLlamaV2Backend()


def torch_version(cuda="12.8", version="2.8.0"):
    built = "None" if cuda is None else f"'{cuda}'"
    return (
        "from typing import Optional\n"
        f"__version__ = '{version}'\n"
        f"cuda: Optional[str] = {built}\n"
        "hip: Optional[str] = None\n"
    )


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A machine with no compilers, caches or driver except those that a test adds."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    for name in ("CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "TORCH_EXTENSIONS_DIR"):
        monkeypatch.delenv(name, raising=False)

    def add(name, said=""):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)

    return add


@pytest.fixture
def equipped(bare_interpreter):
    """An interpreter with PyTorch for CUDA 12.8, and ExLlamaV2 without a compiled extension."""
    bare_interpreter.add("torch/__init__.py", "raise SystemExit('nobody is to import PyTorch')")
    bare_interpreter.add("torch/version.py", torch_version())
    bare_interpreter.add("exllamav2/__init__.py", "raise SystemExit('nobody is to import ExLlamaV2')")
    bare_interpreter.add(
        "exllamav2-0.3.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: exllamav2\nVersion: 0.3.2\n"
    )
    return bare_interpreter


async def test_missing_pytorch_or_library_is_reported(bare_interpreter, tools):
    probe = await V2.probe(bare_interpreter.python)
    assert not probe.usable
    assert probe.reason == f"ExLlamaV2 needs PyTorch, which is not installed in {bare_interpreter.python}."
    assert probe.remedy == "Run: paragone env create exllamav2."
    bare_interpreter.add("torch/__init__.py")
    bare_interpreter.add("torch/version.py", torch_version(cuda=None, version="2.8.0+cpu"))
    probe = await V2.probe(bare_interpreter.python)
    assert probe.reason == (
        f"The PyTorch 2.8.0+cpu in {bare_interpreter.python} was built for the CPU only; "
        "ExLlamaV2 needs a PyTorch with CUDA."
    )
    bare_interpreter.add("torch/version.py", torch_version())
    probe = await V2.probe(bare_interpreter.python)
    assert probe.reason == f"ExLlamaV2 is not installed in {bare_interpreter.python}."


async def test_a_missing_driver_is_reported(equipped, tools):
    probe = await V2.probe(equipped.python)
    assert probe.reason == "ExLlamaV2 finds no GPU: there is no NVIDIA driver on this machine."
    assert (
        probe.remedy
        == "ExLlamaV2 computes on NVIDIA GPUs only; open the model on a machine that has an NVIDIA GPU."
    )
    assert probe.facts == {"interpreter": equipped.python, "PyTorch": "2.8.0", "ExLlamaV2": "0.3.2"} | {
        "CUDA of PyTorch": "12.8"
    }


@pytest.mark.parametrize(
    ("said", "visible", "reason"),
    [
        ({"init": 18}, None, "the NVIDIA driver was updated and the machine has not been restarted"),
        ({"init": 999}, None, "the NVIDIA driver does not answer (NVML error 999)"),
        ({"gpus": 0}, None, "the NVIDIA driver lists none"),
        ({"gpus": 2}, "", "CUDA_VISIBLE_DEVICES hides all 2 of this machine"),
    ],
)
async def test_a_missing_gpu_is_reported(said, visible, reason, equipped, tools, driver, monkeypatch):
    driver(**said)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    probe = await V2.probe(equipped.python)
    assert not probe.usable
    assert reason in probe.reason
    assert ("a machine that has" if visible is None else "to the numbers of GPUs") in probe.remedy


async def test_a_driver_that_is_too_old_is_reported(equipped, tools, driver):
    driver(version="470.256.02", cuda=11040)
    probe = await V2.probe(equipped.python)
    assert probe.reason == (
        "The NVIDIA driver 470.256.02 supports CUDA up to 11.4, but the PyTorch in "
        f"{equipped.python} was built for CUDA 12.8."
    )
    assert probe.remedy == "Update the driver."  # there is no environment for CUDA 11
    equipped.add("torch/version.py", torch_version(cuda="13.0", version="2.11.0"))
    driver()
    probe = await V2.probe(equipped.python)
    assert probe.remedy == "Update the driver, or run: paragone env create exllamav2 --cuda 12."


async def test_a_missing_compiler_is_reported(equipped, tools, driver):
    driver()
    if os.path.exists("/usr/local/cuda/bin/nvcc"):
        pytest.skip("this machine has a CUDA compiler")
    probe = await V2.probe(equipped.python)
    assert probe.reason == (
        "The part of ExLlamaV2 that runs on the GPU has not been compiled yet, and there is no CUDA compiler "
        "(nvcc)."
    )
    assert (
        probe.remedy
        == "Install the CUDA 12.8 toolkit, or a wheel of ExLlamaV2 that is compiled for PyTorch 2.8.0."
    )
    driver(cuda=13000, version="580.65.06")
    assert (await V2.probe(equipped.python)).remedy == (
        "Install the CUDA 12.8 toolkit, or a wheel of ExLlamaV2 that is compiled for PyTorch 2.8.0, "
        "or run: paragone env create exllamav2 --cuda 13, which brings the compiler."
    )
    tools("nvcc", "Cuda compilation tools, release 12.8, V12.8.93")
    probe = await V2.probe(equipped.python)
    assert probe.reason.endswith("there is no C++ compiler.")
    assert probe.remedy.startswith("Install g++, or a wheel of ExLlamaV2")


@pytest.mark.usefixtures(
    "new_interpreters"
)  # they execute .pth files; Debian's Python has a sitecustomize of its own
async def test_missing_python_headers_are_reported(equipped, tools, driver, tmp_path):
    driver()
    tools("nvcc", "Cuda compilation tools, release 12.8, V12.8.93")
    tools("c++")
    get_path = f"lambda name: {str(tmp_path)!r}"
    equipped.add("without_headers.pth", f"import sysconfig; sysconfig.get_path = {get_path}")
    probe = await V2.probe(equipped.python)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert probe.reason.endswith(f"the required headers of Python {version} (Python.h) are missing.")
    assert probe.remedy.startswith(f"Install the headers (python{version}-dev), or a wheel of ExLlamaV2")
    (tmp_path / "Python.h").touch()
    assert (await V2.probe(equipped.python)).usable


async def test_a_mig_slice_of_a_gpu_is_usable(equipped, tools, driver, monkeypatch):
    driver()
    equipped.add("exllamav2_ext.py")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-cccc")
    probe = await V2.probe(equipped.python)
    assert probe.facts["GPUs"] == "Paper GPU 1g.5gb (5.4 GB)"
    assert probe.usable
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-dddd")
    assert "hides all 1 of this machine" in (await V2.probe(equipped.python)).reason


async def test_a_compiler_for_another_cuda_version_is_reported(equipped, tools, driver):
    driver(cuda=13000, version="580.65.06")
    tools("nvcc", "Cuda compilation tools, release 13.0, V13.0.48")
    tools("c++")
    probe = await V2.probe(equipped.python)
    assert probe.reason.endswith("is of CUDA 13.0, but PyTorch was built for CUDA 12.8.")
    assert probe.remedy.endswith("paragone env create exllamav2 --cuda 13.")
    tools("nvcc", "Cuda compilation tools, release 11.8, V11.8.89")
    probe = await V2.probe(equipped.python)
    assert probe.remedy == "Install the CUDA 12.8 toolkit."


async def test_the_library_is_usable_where_it_can_be_compiled(equipped, tools, driver, tmp_path):
    driver(gpus=2)
    tools("nvcc", "Cuda compilation tools, release 12.4, V12.4.131")
    tools("g++")
    probe = await V2.probe(equipped.python)
    assert probe.usable, probe.reason
    facts = dict(probe.facts)
    assert facts.pop("compiled part") == (
        f"will be compiled by {tmp_path}/tools/nvcc when a model is first opened, which takes some minutes"
    )
    assert facts == {
        "interpreter": equipped.python,
        "PyTorch": "2.8.0",
        "ExLlamaV2": "0.3.2",
        "CUDA of PyTorch": "12.8",
        "driver": "575.57.08, for CUDA up to 12.9",
        "GPUs": "Paper GPU (25.8 GB), Paper GPU (25.8 GB)",
        "attention": "unpaged, so that only the latest conversation is kept in the cache: "
        "flash-attn is not installed",
    }


async def test_the_library_is_usable_where_it_was_compiled(equipped, tools, driver, tmp_path, monkeypatch):
    driver()
    tag = f"py{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags}_cu128"
    built = tmp_path.with_name(f"{tmp_path.name}-cache") / "torch_extensions" / tag / "exllamav2_ext"
    built.mkdir(parents=True)
    (built / "exllamav2_ext.so").touch()
    probe = await V2.probe(equipped.python)
    if not os.path.exists("/usr/local/cuda/bin/nvcc"):
        assert probe.reason == (
            "The part of ExLlamaV2 that runs on the GPU was compiled, but PyTorch needs the CUDA "
            "compiler (nvcc) to load it, which is missing."
        )
    tools("nvcc", "Cuda compilation tools, release 12.8, V12.8.93")
    probe = await V2.probe(equipped.python)
    assert probe.usable
    assert probe.facts["compiled part"] == f"compiled on this machine, in {built.parent}"
    # In a folder set by the user, the path does not include the versions.
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "own"))
    assert not (await V2.probe(equipped.python)).usable
    (tmp_path / "own" / "exllamav2_ext").mkdir(parents=True)
    (tmp_path / "own" / "exllamav2_ext" / "exllamav2_ext.so").touch()
    assert (await V2.probe(equipped.python)).usable


@pytest.mark.parametrize(
    ("version", "attention"),
    [
        ("2.5.7.post1", "paged, by flash-attn 2.5.7.post1"),
        (
            "2.5.6",
            "unpaged, so that only the latest conversation is kept in the cache: flash-attn 2.5.6 is older "
            "than 2.5.7",
        ),
    ],
)
async def test_the_benefit_of_flash_attention_is_mentioned(version, attention, equipped, tools, driver):
    driver()
    equipped.add("exllamav2_ext.py")
    equipped.add(
        f"flash_attn-{version}.dist-info/METADATA",
        f"Metadata-Version: 2.1\nName: flash-attn\nVersion: {version}\n",
    )
    probe = await V2.probe(equipped.python)
    assert probe.facts["compiled part"] == "installed with the library"
    assert probe.facts["attention"] == attention
    driver(major=7)
    probe = await V2.probe(equipped.python)
    assert probe.facts["attention"].startswith("unpaged")


COMPILING = """
import os, subprocess, sys
os.chdir(sys.argv[1])
os.open("lock", os.O_CREAT | os.O_EXCL)
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    folder = probe.extension_folder("exllamav2", "13.0")
    folder.mkdir(parents=True)
    return folder


def test_a_stale_lock_is_deleted(folder):
    probe.release_lock(folder)
    (folder / "lock").touch()
    probe.release_lock(folder)
    assert list(folder.iterdir()) == []


def test_a_lock_is_kept_while_its_process_or_the_compilers_run(folder, monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", COMPILING, str(folder)], stdout=subprocess.PIPE)
    compiler = int(process.stdout.readline())
    probe.release_lock(folder)
    assert (folder / "lock").exists()
    process.kill()
    process.wait()
    waited = []

    def end_the_compiler(_):
        waited.append((folder / "lock").exists())
        handle = os.pidfd_open(compiler)
        os.kill(compiler, signal.SIGKILL)
        select.select([handle], [], [])
        os.close(handle)

    monkeypatch.setattr(probe, "time", SimpleNamespace(sleep=end_the_compiler))
    probe.release_lock(folder)
    process.stdout.close()
    assert waited == [True]
    assert not (folder / "lock").exists()


BUILDS = [
    (backend, build)
    for backend in (ExLlamaV2Backend, ExLlamaV3Backend)
    for build in backend.environment.builds
]


def requirements_of(build):
    return [Requirement(line) for line in build.requirements.read_text().splitlines()]


NUMPY = {"exllamav2": Version("1.26.4"), "exllamav3": Version("2.1.0")}
"""The NumPy version that each was built with, or requires at least: they cannot share an environment."""


@pytest.mark.parametrize(("backend", "build"), BUILDS)
def test_the_pins_are_the_versions_that_the_adapters_were_tested_with(backend, build, sources):
    folder = sources(backend.name)
    (metadata,) = folder.glob("*.dist-info/METADATA")
    wheel = Parser().parsestr(metadata.read_text(encoding="utf-8"))
    pinned = {wanted.name: wanted.specifier for wanted in requirements_of(build)}
    assert str(pinned[backend.name]) == f"=={wheel['Version']}"
    for text in wheel.get_all("Requires-Dist"):
        wanted = Requirement(text)
        if wanted.marker is not None or wanted.name not in pinned:
            continue
        for clause in pinned[wanted.name]:
            if clause.operator == "==":
                assert wanted.specifier.contains(clause.version), f"{wanted} and {clause} exclude each other"


@pytest.mark.parametrize(("backend", "build"), BUILDS)
def test_an_environment_has_all_imported_packages_and_states_its_size(backend, build):
    specifiers = {wanted.name: wanted.specifier for wanted in requirements_of(build)}
    assert {"torch", "jinja2", "ninja", backend.name} <= set(specifiers)
    assert build.disk > build.download > 10**9
    assert backend.environment.modules[-1] == backend.name
    numpy = specifiers.get("numpy")
    assert numpy is None or numpy.contains(NUMPY[backend.name])
    if backend.name == "exllamav2":
        assert numpy, "without a pin, pip would install a NumPy that the wheel was not built with"
        assert "tokenizers" in specifiers, "the wheel imports it without declaring it"
