"""Known causes of crashes and failures of native libraries, and the cure for each."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashCause:
    """A known cause of a crash, and its cure. Each of `signals`, `output` and `build` must match the crash, or be empty.

    Attributes:
        cause: The reason, in the words after the colon in "The engine's process was ended by SIGSEGV: …."
        cure: A message on what to do; may be empty.
        signals: The signals that end the process; empty for any end. If `signals` and `build` are empty,
            the cause also applies to an exception whose message matches `output`.
        output: A regular expression that matches in the last lines that the process printed; case is ignored.
        build: A regular expression that matches in the first lines that the process printed, such as a
            description of how the library was built.
    """

    cause: str
    cure: str = ""
    signals: tuple[int, ...] = ()
    output: str = ""
    build: str = ""


def find_cause(
    causes: Sequence[CrashCause], *, output: str, number: int = 0, build: str = ""
) -> CrashCause | None:
    """Return the first cause, of `causes` and then `COMMON_CAUSES`, that matches the end of a process; None without a match.

    `number` is the signal that ended the process (0: none). `output` and `build` are the last and first lines of output.
    """
    for cause in (*causes, *COMMON_CAUSES):
        if (
            (not cause.signals or number in cause.signals)
            and (not cause.output or re.search(cause.output, output, re.IGNORECASE))
            and (not cause.build or re.search(cause.build, build))
        ):
            return cause
    return None


WITHOUT_AMX = "-mno-amx-int8"
"""The compiler's flag that builds llama.cpp without ggml's AMX code: that code is compiled only with AMX_INT8."""


def amx_miscompiled(code: str, cure: str) -> CrashCause:
    """Return the cause of crashes in AMX code that GCC compiled wrongly. `code` names the program with llama.cpp."""
    # llama.cpp's issue 20824: GCC's bug 114098 leaves the tile configuration of ggml's AMX code unwritten.
    return CrashCause(
        signals=(signal.SIGSEGV, signal.SIGILL),
        build=r"\bAMX_INT8 = 1\b",
        cause=f"probably {code}, which GCC before 13.3 compiles wrongly",
        cure=cure,
    )


_SMALLER = "`paragone fit` shows what fits."

COMMON_CAUSES = (
    CrashCause(
        signals=(signal.SIGPROF,),
        cause="its chat template computes too long",
        cure="Set another chat template with the option chat_template.",
    ),
    CrashCause(
        output=r"no kernel image is available|invalid device function",
        cause="its library was not compiled for this GPU",
        cure="Install a build for this GPU, or compile the library for its compute capability, which "
        "`nvidia-smi --query-gpu=name,compute_cap --format=csv` shows.",
    ),
    CrashCause(
        output=r"(cuda|hip|rocm|cublas|vulkan|vk::|metal|gpu).{0,60}(out ?of ?(device ?)?memory|alloc_failed)",
        cause="the memory of the GPU ran out",
        cure="Close other programs that use the GPU, or open the engine with a shorter context, with fewer layers on the "
        f"GPU, or with a smaller quantization: {_SMALLER}",
    ),
    CrashCause(
        output=r"std::bad_alloc|(failed|unable) to allocate|(cannot|can't) allocate memory|insufficient memory"
        r"|out of memory|\bMemoryError\b|more system memory",
        cause="the memory of the machine ran out",
        cure=f"Close other engines, or open this one with a shorter context or a smaller quantization: {_SMALLER}",
    ),
    CrashCause(
        signals=(signal.SIGKILL,),
        cause="another process killed it, or the system did because memory ran out",
        cure=f"If memory ran out, open the engine with a shorter context or a smaller quantization: {_SMALLER}",
    ),
)
"""Causes that do not depend on the library, the most specific causes first."""
