"""Known causes of llama.cpp's crashes."""

from __future__ import annotations

import signal

from paragone.crash_causes import CrashCause

__all__ = ["CRASH_CAUSES"]

CRASH_CAUSES = (
    # llama.cpp's issue 20824: GCC's bug 114098 leaves the tile configuration of ggml's AMX code unwritten.
    CrashCause(
        signals=(signal.SIGSEGV, signal.SIGILL),
        build=r"\bAMX_INT8 = 1\b",
        cause="probably by the Intel AMX code in its llama.cpp, which GCC before 13.3 compiles wrongly",
        cure="Compile it again without AMX: in a clone of paragone, `make native`; elsewhere, CFLAGS=-mno-amx-int8 "
        "CXXFLAGS=-mno-amx-int8 pip install --force-reinstall --no-deps --no-cache-dir llama-cpp-python.",
    ),
)
