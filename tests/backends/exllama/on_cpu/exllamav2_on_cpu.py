"""Makes the real ExLlamaV2 0.3.2 compute FP16 models on the CPU. Test code, and slow.

The library is the real one: configuration, tokenizer, loading, modules, attention, cache, generator and
the C++ sampler are unchanged. Only the parts that need a GPU are replaced: the two kernels that FP16 models
use, and the calls to CUDA for devices and streams. This does not cover the kernels for EXL2 and GPTQ,
quantized caches and flash-attn.

An interpreter imports this module when it starts and calls `install`; the library is patched when it is imported.
"""

import contextlib
import importlib.abc
import importlib.util
import sys


def rms_norm(x, weight, out, epsilon):
    """The same as ExLlamaV2's kernel: computes the mean of squares in 32 bits."""
    wide = x.float()
    out.copy_(wide * (wide.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt() * weight.float())


def rope(x, sin, cos, past, heads, head_size, offsets, neox):
    """The same as ExLlamaV2's kernel, in place: x is (batch, length, heads, head_size)."""
    import torch

    assert neox, "only NeoX-style embeddings are implemented here"
    assert offsets.is_meta, "offsets of sequences are not implemented here"
    length, half = x.shape[1], head_size // 2
    places = slice(past, past + length)
    s, c = (table[0, 0, places, :half].float()[None, :, None, :] for table in (sin, cos))
    first, second = x[..., :half].float(), x[..., half:].float()
    x.copy_(torch.cat((first * c - second * s, second * c + first * s), dim=-1))


class _Stream:
    def __init__(self, *arguments):
        pass


def patch(exllamav2):
    """Patch the imported library to compute on the CPU."""
    import torch
    from exllamav2.ext import exllamav2_ext

    def nothing(*arguments, **options):
        return None

    for name in ("set_device", "set_stream", "synchronize", "empty_cache"):
        setattr(torch.cuda, name, nothing)
    torch.cuda.Stream = _Stream
    torch.cuda.device = contextlib.nullcontext
    torch.cuda.device_count = lambda: 1
    torch.cuda.memory_allocated = lambda device=None: 0
    exllamav2_ext.rms_norm = rms_norm
    exllamav2_ext.rope_ = rope
    for name, module in list(sys.modules.items()):
        if name.startswith("exllamav2.") and hasattr(module, "_torch_device"):
            module._torch_device = lambda index: "cpu"
        if name.startswith("exllamav2.") and hasattr(module, "safe_move_tensor"):
            module.safe_move_tensor = lambda tensors, device, **options: tensors


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports `exllamav2` as usual, then patches it."""

    def find_spec(self, name, path, target=None):
        if name != "exllamav2":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        self.real, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        self.real.exec_module(module)
        patch(module)


def install():
    """Install the import hook that patches the library."""
    sys.meta_path.insert(0, _Finder())
