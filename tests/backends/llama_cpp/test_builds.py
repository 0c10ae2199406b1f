"""The builds of llama.cpp: which is loaded, and that one with other structures is refused."""

import ctypes
import ctypes.util
from pathlib import Path

import pytest

from paragone import EngineError, InputError, OpenRequest
from paragone_llama_cpp import c_api as loading
from paragone_llama_cpp.backend import LlamaCppBackend
from paragone_llama_cpp.c_api import ContextParams, Functions, InstalledBuild, installed_builds
from paragone_llama_cpp.library import instructions, other_build

INSTALLED = installed_builds()


@pytest.fixture
def fresh(monkeypatch):
    """Give a process in which nothing is loaded yet."""
    monkeypatch.setattr(loading, "_loaded", None)
    monkeypatch.setattr(loading, "lib", Functions())


@pytest.fixture
def only(monkeypatch):
    """Return a function after which these builds are installed."""
    return lambda *builds: monkeypatch.setattr(loading, "installed_builds", lambda: list(builds))


@pytest.mark.model
@pytest.mark.parametrize("build", INSTALLED, ids=str)
async def test_the_option_selects_the_build(build, model_path):
    options = {"build": build.name, "n_ctx": 256, "n_threads": 1}
    engine = await LlamaCppBackend().open(
        OpenRequest(model=model_path, options=options), lambda progress: None
    )
    assert engine.loaded.facts["origin"] == str(build)
    await engine.close()


def test_the_native_build_is_preferred_to_the_prebuilt_one(fresh, only):
    (build, *_) = INSTALLED
    native, prebuilt = InstalledBuild("native", "a", build.file), InstalledBuild("prebuilt", "b", build.file)
    only(native, prebuilt)
    assert loading.load_build() is native
    assert loading.load_build("native") is native
    with pytest.raises(EngineError, match="already loaded a unknown, so it cannot load b unknown"):
        loading.load_build("prebuilt")


def test_a_missing_build_is_named_with_the_command_that_installs_it(fresh, only):
    only()
    with pytest.raises(InputError, match=r"llama\.cpp is not installed") as caught:
        loading.load_build()
    assert "xllamacpp==" in caught.value.hint
    with pytest.raises(InputError, match=r"The native build of llama\.cpp is not installed") as caught:
        loading.load_build("native")
    assert "llama-cpp-python" in caught.value.hint


def test_a_library_without_its_functions_is_refused(fresh, only, tmp_path):
    only(InstalledBuild("prebuilt", "other", Path(ctypes.util.find_library("m") or "")))
    with pytest.raises(
        EngineError, match=r"whose llama\.cpp has no function llama_version, and \d+ more"
    ) as caught:
        loading.load_build()
    assert "xllamacpp==" in caught.value.hint


def test_a_damaged_library_is_refused(fresh, only, tmp_path):
    file = tmp_path / "xllamacpp.abi3.so"
    file.write_bytes(b"\x7fELF, and no more")
    only(InstalledBuild("prebuilt", "xllamacpp", file))
    with pytest.raises(EngineError, match=r"cannot be loaded: .*file too short"):
        loading.load_build()


def test_a_library_with_another_structure_is_refused(fresh, only, monkeypatch):
    """A test double of a newer llama.cpp: it has one more field, so that those after it are read at wrong places."""
    (build, *_) = INSTALLED
    only(build)

    class Newer(ctypes.Structure):
        _fields_ = [("new", ctypes.c_size_t), *ContextParams._fields_]

    bind = Functions.bind

    def bind_newer(self, library):
        missing = bind(self, library)
        ours = self.llama_context_default_params
        size = ctypes.sizeof(ours())

        def newer():
            params = Newer()
            ctypes.memmove(
                ctypes.addressof(params) + ctypes.sizeof(ctypes.c_size_t), ctypes.addressof(ours()), size
            )
            return type(ours()).from_buffer_copy(params)

        self.llama_context_default_params = newer
        return missing

    monkeypatch.setattr(Functions, "bind", bind_newer)
    with pytest.raises(EngineError, match=r"other default parameters of a context \(n_ctx\), and \d+ more"):
        loading.load_build()


def test_the_advantages_of_another_build_are_reported(tmp_path, only):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n")
    info = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | AMX_INT8 = 1 | LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 |"
    assert instructions(info) == ["SSE3", "AVX2", "AMX_INT8"]
    native, prebuilt = InstalledBuild("native", "n", tmp_path), InstalledBuild("prebuilt", "p", tmp_path)
    only(prebuilt)
    assert "with AVX512, AVX512_VNNI, faster on the CPU; needs a C++ compiler" in other_build(
        prebuilt, ["AVX2"], cpuinfo
    )
    assert "not faster on this processor" in other_build(prebuilt, ["AVX512", "AVX512_VNNI"], cpuinfo)
    assert "not faster on this processor" in other_build(prebuilt, [], tmp_path / "missing")
    only(native, prebuilt)
    assert other_build(native, [], cpuinfo).endswith("choose it with the option build=prebuilt")
    assert other_build(prebuilt, [], cpuinfo).endswith("choose it with the option build=native")
    only(native)
    assert "needs no compiler" in other_build(native, [], cpuinfo)


def test_outside_of_a_clone_the_native_build_is_installed_by_pip_without_amx(tmp_path, monkeypatch, only):
    from paragone_llama_cpp import library as module

    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : avx512f amx_tile\n")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    prebuilt = InstalledBuild("prebuilt", "p", tmp_path)
    only(prebuilt)
    said = other_build(prebuilt, [], cpuinfo)
    assert "CXXFLAGS=-mno-amx-int8 " in said
    assert "llama-cpp-python" in said


@pytest.mark.model
def test_a_requantized_file_has_the_type_and_the_probabilities_of_its_source(
    chat, model_path, open_chat, tmp_path
):
    """Q8_0 loses little of Q4_1. The test of the demo lets the whole model answer at Q4_0."""
    from paragone_llama_cpp.demo import requantize

    ids = (504, 260, 253, 338, 281, 216)
    path = tmp_path / "again.gguf"
    requantize(model_path, str(path), "Q8_0")
    again = open_chat(path)
    assert again.loaded.quantization == "Q8_0"
    assert again.logprobs(ids) == pytest.approx(chat.logprobs(ids), abs=0.5)


@pytest.mark.model
def test_a_file_that_cannot_be_requantized_raises_an_error(model_path, tmp_path):
    from paragone_llama_cpp.demo import requantize

    other = tmp_path / "other.gguf"
    other.write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot be read as a GGUF file"):
        requantize(str(other), str(tmp_path / "target"), "Q8_0")
    with pytest.raises(EngineError, match="cannot be written"):
        requantize(model_path, str(tmp_path / "missing" / "target"), "Q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["other.gguf"]
