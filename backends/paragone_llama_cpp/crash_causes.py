"""Known causes of llama.cpp's crashes."""

from __future__ import annotations

from paragone.crash_causes import WITHOUT_AMX, amx_miscompiled

FLAGS_WITHOUT_AMX = f"CFLAGS={WITHOUT_AMX} CXXFLAGS={WITHOUT_AMX}"
"""Environment variables for compiling llama.cpp without ggml's AMX code."""

CRASH_CAUSES = (
    amx_miscompiled(
        "the Intel AMX code in its llama.cpp",
        f"Compile llama.cpp again without AMX: in a clone of paragone, `make native`; elsewhere, {FLAGS_WITHOUT_AMX} pip "
        "install --force-reinstall --no-deps --no-cache-dir llama-cpp-python. Or set the engine's option build to "
        "prebuilt.",
    ),
)
