"""Makes the real ExLlamaV3 1.6.5 compute FP16 Llamas on the CPU. Test code, and slow.

The library's Python code is the real one: configuration, tokenizer, modules, paged cache, generator, jobs,
drafts, and the unfused sampler. Nearly all of its extension is CUDA code: the functions that such a model uses
are replaced here, and attention uses the library's own fallback in PyTorch. If EXLLAMAV3_EXT names the compiled
extension, the automaton that finds n-grams comes from there. This does not cover a split over GPUs, EXL3,
quantized caches, the fused sampler and all CUDA code.

An interpreter imports this module when it starts and calls `install`; the library is patched when it is imported.
"""

import importlib.abc
import importlib.util
import os
import sys
import types


class Extension(types.ModuleType):
    """Replacements for the functions of `exllamav3_ext` that are used."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*arguments, **options):
            raise NotImplementedError(f"exllamav3_ext.{name} is not to be had on the CPU")

        return missing

    class BC_LinearFP16:
        def __init__(self, weight, bias):
            pass

    @staticmethod
    def rms_norm(x, weight, y, epsilon, bias, scale, span_heads=False, residual=False, groups=1):
        assert (span_heads, residual, groups) == (False, False, 1)
        wide = x.float()
        wide = wide * (wide.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt() * scale
        y.copy_(wide * (weight.float() + bias))

    @classmethod
    def rms_norm_res_in(cls, x, weight, y, residual, epsilon, bias, scale):
        residual += x
        cls.rms_norm(residual, weight, y, epsilon, bias, scale)

    @staticmethod
    def hgemm(x, weight, y):
        y.copy_(x.float() @ weight.float())

    @staticmethod
    def silu_mul(x, y, out, *limits):
        out.copy_(x.float() * x.float().sigmoid() * y.float())

    @staticmethod
    def rope(q, out_q, k, out_k, frequencies, position, positions, position_ids, style, factor, *norms):
        import torch

        assert position_ids is None
        assert norms[0] is None
        starts = torch.tensor([position]) if positions is None else positions
        places = starts[:, None] + torch.arange(q.shape[1])
        angles = places[:, :, None, None].float() * frequencies.float()
        sin, cos = angles.sin() * factor, angles.cos() * factor
        for x, out in ((q, out_q), (k, out_k)):
            first, second = x.float().chunk(2, dim=-1)
            out.copy_(torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1))

    @staticmethod
    def generator_stage_decode(arena, width, tables, kv, offsets, batch, ids, pages, page_offsets):
        rows = len(tables)
        arena[: rows * width] = 0
        for row, table in enumerate(tables):
            length = min(table.numel(), width)
            arena[row * width : row * width + length] = table.view(-1)[:length]
            arena[rows * width + row] = kv[row]
        assert not offsets
        for row, (tokens, page, at) in enumerate(zip(ids, pages, page_offsets, strict=True)):
            batch[row, 0] = tokens[0, kv[row]]
            page[0, at] = tokens[0, kv[row]]

    @staticmethod
    def count_match_tensor(one, other, most):
        most = min(most, one.shape[1], other.shape[1])
        same = (one[0, :most] == other[0, :most]).tolist()
        return same.index(False) if False in same else most

    @staticmethod
    def cache_rotate(cache, moves, spare):
        for target, source in moves.view(-1, 2).tolist():
            (spare if target < 0 else cache[target]).copy_(spare if source < 0 else cache[source])

    @staticmethod
    def apply_rep_pens(logits, out, past, penalty, sustain, decay):
        assert decay == 0
        out.copy_(logits)
        seen = past[0, -sustain:].unique() if sustain else past[0, :0]
        old = out[0, seen]
        out[0, seen] = (old / penalty).where(old > 0, old * penalty)

    @staticmethod
    def apply_pres_freq_pens(logits, out, past, presence, frequency, sustain, decay):
        assert decay == 0
        out.copy_(logits)
        seen, counts = (
            past[0, -sustain:].unique(return_counts=True) if sustain else (past[0, :0], past[0, :0])
        )
        out[0, seen] -= presence + frequency * counts

    @staticmethod
    def gumbel_noise_f32(logits, out, seed):
        import torch

        noise = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed))
        out.copy_(logits.float() - (-noise.clamp(1e-20, 1 - 1e-7).log()).log())

    gumbel_noise_f16 = gumbel_noise_f32

    @classmethod
    def gumbel_noise_log(cls, probabilities, out, seed):
        cls.gumbel_noise_f32(probabilities.log(), out, seed)


def _attend(arguments):
    from exllamav3.modules.attention_fn import torch as by_torch

    if not arguments.has_kv_cache():
        return by_torch.fn_torch_sdpa_fallback_nocache(arguments)
    return by_torch._torch_bighead_fallback(
        arguments.q, arguments.k, arguments.v, arguments.k_cache, arguments.v_cache,
        arguments.block_table, arguments.cache_seqlens, causal=arguments.causal,
        softmax_scale=arguments.sm_scale,
    )  # fmt: skip


def _load(model, *, callback=None, max_chunk_size=2048, **options):
    """Load each module to the CPU, with the same progress callbacks as loading to GPUs."""
    import torch

    model.config.stc.load_method = "python"
    with torch.inference_mode():
        for index, module in enumerate(model.modules):
            if callback is not None:
                callback(index, len(model.modules))
            module.load(torch.device("cpu"), max_chunk_size=max_chunk_size)
    if callback is not None:
        callback(len(model.modules), len(model.modules))
    model.output_device = torch.device("cpu")
    for reference in model.cache_weakrefs.values():
        if (cache := reference()) is not None:
            cache.initialized = True


def _patch():
    from exllamav3.model.model import Model
    from exllamav3.modules import attn
    from exllamav3.modules.attention_fn import dispatch
    from exllamav3.modules.attention_fn import torch as by_torch

    Model.load = _load
    attn._bc_attn_enable = False
    dispatch.attn_fns[:] = [_attend]
    by_torch.sdpa_prefill = lambda device: False
    by_torch.has_warned_sdpa_fallback = True


def _unpinned(make):
    """Return a function like `make` that does not pin the tensor's memory, because that needs CUDA."""

    def made(*arguments, pin_memory=False, **options):
        return make(*arguments, **options)

    return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports `exllamav3` as usual, and patches other modules before, and the library after that."""

    def find_spec(self, name, path, target=None):
        if name != "exllamav3":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        self.real, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        import torch
        from torch.utils import cpp_extension

        extension = Extension("exllamav3_ext")
        if compiled := os.environ.get("EXLLAMAV3_EXT"):
            spec = importlib.util.spec_from_file_location("exllamav3_ext", compiled)
            real = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(real)
            extension.BC_SAM = real.BC_SAM
        cpp_extension.load = lambda **options: extension
        for name in ("empty", "empty_like", "zeros"):
            setattr(torch, name, _unpinned(getattr(torch, name)))
        torch.cuda.synchronize = lambda device=None: None
        os.environ["EXL3_FUSED_SAMPLER"] = "0"
        self.real.exec_module(module)
        _patch()


def install():
    """Install the import hook that patches the library."""
    sys.meta_path.insert(0, _Finder())
