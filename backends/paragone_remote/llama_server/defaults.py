"""What the options of a llama-server mean on this machine: whole paths, and the defaults that depend on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from paragone import InputError
from paragone_remote.llama_server.options import LlamaServerLoadOptions

__all__ = ["with_defaults"]

_BATCH_ON_CPU = 128
"""Prompt tokens at once on the CPU: a server notices only between two batches that a prompt was stopped."""

_FLOATS = ("f32", "f16", "bf16")


def with_defaults(options: LlamaServerLoadOptions, devices: Sequence[str]) -> LlamaServerLoadOptions:
    """Return the options with whole paths, and for a server on the CPU with the defaults there.

    They are those of the backend `llama_cpp`, so that both compute the same. `devices` are those that the program
    lists. Raises InputError.
    """
    options = dataclasses.replace(
        options,
        lora=_whole(options.lora),
        mmproj=_whole(options.mmproj),
        draft_model=_whole(options.draft_model),
    )
    if options.n_gpu_layers != 0 and (devices or options.rpc_servers):
        return options
    flash_attn = options.flash_attn
    if flash_attn == "auto" and options.type_v in _FLOATS:
        flash_attn = "off"  # llama-server would turn it on, which is slower there
    return dataclasses.replace(options, flash_attn=flash_attn, n_batch=options.n_batch or _BATCH_ON_CPU)


def _whole(path: str | None) -> str | None:
    try:
        return path if path is None else str(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise InputError(f"The home folder in {path} is not known.") from error
