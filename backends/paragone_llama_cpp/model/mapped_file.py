"""Release the mapped pages of a model file whose weights llama.cpp has copied into another layout."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from pathlib import Path

_MADV_DONTNEED = 4


def release_pages(files: Collection[Path], maps: Path = Path("/proc/self/maps")) -> None:
    """Release the mapped pages of these files from this process. The system reads a page again when the page is accessed.

    On a CPU, llama.cpp copies the weights of some quantizations, such as Q4_0, into a layout that makes computing
    faster. Without the release, the mapped file, which llama.cpp reads no more, would stay in memory beside the
    copy: such a model would take almost twice its size. Does nothing where there is no `/proc`.
    """
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return
    paths = {str(file.resolve()) for file in files}
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] in paths and "w" not in fields[1]:
            start, end = (int(address, 16) for address in fields[0].split("-"))
            libc.madvise(start, end - start, _MADV_DONTNEED)
