"""Has the real ExLlamaV2 0.3.2 compute FP16 models on the CPU: test code, and slow.

The library is the real one: configuration, tokenizer, loading, modules, attention, cache, generator and
the sampler in C++ run as they are. What needs a GPU is put in place of here: the two kernels that FP16
models take, and what asks CUDA for devices and streams. The kernels for EXL2 and GPTQ, quantized caches and
flash-attn are not reached this way.

An interpreter imports it at its start (`install`); the library is patched once it is imported.
"""

import contextlib
import importlib.abc
import importlib.util
import sys


def rms_norm(x, weight, out, epsilon):
    """As ExLlamaV2's kernel: the mean of squares in 32 bits."""
    wide = x.float()
    out.copy_(wide * (wide.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt() * weight.float())


def rope(x, sin, cos, past, heads, head_size, offsets, neox):
    """As ExLlamaV2's kernel, in place: x is (batch, length, heads, head_size)."""
    import torch

    assert neox, "no other kind is in place of here"
    assert offsets.is_meta, "nor are sequences that begin elsewhere"
    length, half = x.shape[1], head_size // 2
    places = slice(past, past + length)
    s, c = (table[0, 0, places, :half].float()[None, :, None, :] for table in (sin, cos))
    first, second = x[..., :half].float(), x[..., half:].float()
    x.copy_(torch.cat((first * c - second * s, second * c + first * s), dim=-1))


class _Stream:
    def __init__(self, *arguments):
        pass


def patch(exllamav2):
    """Have a library that has just been imported compute on the CPU."""
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
    """Imports `exllamav2` as usual, and patches it after that."""

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
    """Wait for the library to be imported."""
    sys.meta_path.insert(0, _Finder())
