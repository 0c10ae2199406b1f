"""ExLlamaV2's attention: flash-attn where that works, else PyTorch's, with the mask that 0.3.2 forgets.

Without flash-attn, `ExLlamaV2Attention._attn_torch` of 0.3.2 asks for the block-diagonal mask of images
where it means the causal one, and gets none: each token of a prompt would see those after it.
"""

from __future__ import annotations

from typing import Any

from exllamav2 import ExLlamaV2Config, attn
from exllamav2.attn_params import Params

from paragone import InputError
from paragone_exllama.library import PAGE
from paragone_exllama.nvidia import AMPERE, NoDriver, look, visible
from paragone_exllama.options import ExLlamaV2LoadOptions

__all__ = ["choose_attention"]

_block_diagonal = Params.get_block_diag_mask


def choose_attention(config: ExLlamaV2Config, options: ExLlamaV2LoadOptions) -> bool:
    """Set a model's attention up before it is loaded, and return whether it is paged. Raises InputError."""
    if not _modern():
        config.no_flash_attn = True  # the library uses it on any GPU that it finds
    flash = bool(attn.has_flash_attn) and not config.no_flash_attn
    possible = flash and bool(attn.has_flash_attn_with_paged)
    if options.paged and not possible:
        raise InputError(
            "Paged attention needs flash-attn 2.5.7 or newer, a GPU of the Ampere generation or newer and a "
            "model that works with it.",
            hint="Install flash-attn in the engine's environment, or leave out the option paged.",
        )
    if not flash:
        # mypy takes a method for a constant.
        setattr(Params, "get_block_diag_mask", _causal)  # noqa: B010
        if config.arch.lm.swa or config.arch.lm.alternating_swa:
            # Keys beyond the sliding window of a chunk's last token are cut off for all of its tokens.
            config.max_input_len = PAGE
            config.max_attention_size = PAGE**2
    return possible if options.paged is None else options.paged


def _modern() -> bool:
    """Whether flash-attn runs on each GPU that the model may come to lie on."""
    try:
        gpus = visible(look().gpus)
    except NoDriver:
        return True  # an AMD GPU, of which nothing is known here
    return all(gpu.capability >= AMPERE for gpu in gpus)


def _causal(params: Any, device: Any) -> Any:
    """Return the mask of one computation: that of images, or one that lets no token see those after it."""
    if params.cu_seqlens is not None or params.seq_len == 1:
        return _block_diagonal(params, device)
    from torch.nn.attention.bias import causal_lower_right

    if not hasattr(params, "causal"):  # one for all layers: it takes an address range as large as itself
        params.causal = causal_lower_right(params.seq_len, params.past_len + params.seq_len)
    return params.causal
