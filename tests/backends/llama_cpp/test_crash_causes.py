"""Known causes of llama.cpp's crashes, and the line of the log that tells them apart."""

import signal

import pytest

from paragone import OpenRequest
from paragone.crash_causes import find_cause
from paragone_llama_cpp.backend import CRASH_CAUSES, LlamaCppBackend

SYSTEM_INFO = (
    "llama-cpp-python 0.3.36: CPU : AVX512 = 1 | AVX512_BF16 = 1 | AMX_INT8 = {} | LLAMAFILE = 1 | OPENMP = 1"
)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGILL])
def test_crashes_in_amx_code_are_recognized(number):
    known = find_cause(CRASH_CAUSES, output="", number=number, build=SYSTEM_INFO.format(1))
    assert known in LlamaCppBackend.crash_causes
    assert "-mno-amx-int8" in known.cure


@pytest.mark.parametrize(
    ("number", "has_amx"), [(signal.SIGSEGV, 0), (signal.SIGILL, 0), (signal.SIGABRT, 1), (0, 1)]
)
def test_other_crashes_are_not_attributed_to_amx(number, has_amx):
    build = SYSTEM_INFO.format(has_amx)
    assert find_cause(CRASH_CAUSES, output="", number=number, build=build) not in CRASH_CAUSES


async def test_the_log_of_an_engine_begins_with_its_build(model_path, tmp_path):
    log = tmp_path / "log"
    engine = await LlamaCppBackend().open(OpenRequest(model=str(model_path), log=str(log)), lambda _: None)
    await engine.close()
    build = engine.loaded.facts["build"]
    assert "=" in build
    assert log.read_text().splitlines()[0] == f"{engine.loaded.facts['origin']}: {build}"
