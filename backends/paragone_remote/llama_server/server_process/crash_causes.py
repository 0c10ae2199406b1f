"""Known causes of llama-server's crashes."""

from __future__ import annotations

import signal

from paragone.crash_causes import CrashCause

__all__ = ["CRASH_CAUSES"]

CRASH_CAUSES = (
    # llama.cpp's issue 20824: GCC's bug 114098 leaves the tile configuration of ggml's AMX code unwritten.
    CrashCause(
        signals=(signal.SIGSEGV, signal.SIGILL),
        build=r"\bAMX_INT8 = 1\b",
        cause="probably its Intel AMX code, which GCC before 13.3 compiles wrongly",
        cure="Compile llama-server again with CFLAGS and CXXFLAGS set to -mno-amx-int8, or use another build: see the "
        "option `program`.",
    ),
)
