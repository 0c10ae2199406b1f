"""Quantize the weights of a GGUF file again, with ggml's own functions.

`python -m paragone_llama_cpp.requantize SOURCE TARGET TYPE` runs this module in a process of its own, because the library
prints to the terminal and must not be loaded in the application.
"""

import ctypes
import sys
from pathlib import Path
from typing import Final

from paragone import EngineError, InputError
from paragone_llama_cpp import library
from paragone_llama_cpp.c_api import GgufInitParams, Int64, Pointer, TypeTraits, UInt32, lib

TYPES: Final = {"Q4_0": (2, 2), "Q8_0": (8, 7)}
"""The numbers of each type for tensors (ggml_type) and for whole files (llama_ftype)."""

_F32 = 0


def requantize(source: str, target: str, type_name: str) -> None:
    """Write a copy of a GGUF file in which the matrices of all layers have the type `type_name`.

    The token embeddings and the output matter most for the quality, so both keep their types. The other matrices lose
    quality twice: in the source and here. Raises InputError if the source cannot be read, and EngineError or OSError
    if the target cannot be written.
    """
    library.load()
    tensors = ctypes.c_void_p()
    file = lib.gguf_init_from_file(source.encode(), GgufInitParams(False, ctypes.pointer(tensors)))
    if file is None:
        raise InputError(f"{source} cannot be read as a GGUF file.")
    matrix, file_type = TYPES[type_name]
    weights = []
    for index in range(lib.gguf_get_n_tensors(file)):
        name, kind = (
            lib.gguf_get_tensor_name(file, Int64(index)),
            lib.gguf_get_tensor_type(file, Int64(index)),
        )
        tensor = lib.ggml_get_tensor(Pointer(tensors.value or 0), name)
        new = matrix if name.startswith(b"blk.") and lib.ggml_nrows(tensor) > 1 else kind
        lib.gguf_set_tensor_type(file, name, new)
        weights.append((tensor, kind, new))
    lib.gguf_set_val_u32(file, b"general.file_type", UInt32(file_type))
    if not lib.gguf_write_to_file(file, target.encode(), True):
        raise EngineError(f"{target} cannot be written.")
    with Path(target).open("ab") as content:
        for tensor, kind, new in weights:
            data = _converted(tensor, kind, new)
            content.write(data)
            content.write(bytes(-len(data) % lib.gguf_get_alignment(file)))
    lib.gguf_free(file)
    lib.ggml_free(Pointer(tensors.value or 0))


def _converted(tensor: Pointer, source: int, target: int) -> ctypes.Array[ctypes.c_char]:
    """Return the numbers of a tensor of the type `source` as the type `target`: its own bytes if it has this type."""
    rows, count = lib.ggml_nrows(tensor), lib.ggml_nelements(tensor)
    row = Int64(count // rows)
    of_target = ctypes.c_char * (lib.ggml_row_size(target, row) * rows)
    if source == target:
        return of_target.from_address(lib.ggml_get_data(tensor))
    numbers = (ctypes.c_float * count)()
    if source == _F32:
        ctypes.memmove(numbers, lib.ggml_get_data(tensor), 4 * count)
    else:
        traits = TypeTraits.from_address(lib.ggml_get_type_traits(source))
        traits.to_float(lib.ggml_get_data(tensor), numbers, count)
    data = of_target()
    lib.ggml_quantize_chunk(target, numbers, data, Int64(0), rows, row, None)
    return data


if __name__ == "__main__":
    requantize(*sys.argv[1:])
