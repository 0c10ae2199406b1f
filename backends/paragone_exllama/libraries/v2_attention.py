"""ExLlamaV2's attention: flash-attn if it works, else PyTorch's, with a fix for a missing mask in 0.3.2.

Without flash-attn, `ExLlamaV2Attention._attn_torch` of 0.3.2 requests the block-diagonal mask of images
instead of the causal mask. A prompt without images has no block-diagonal
mask, so each of its tokens would attend to later tokens.
"""

from __future__ import annotations

from typing import Any

from exllamav2 import ExLlamaV2Config, attn
from exllamav2.attn_params import Params

from paragone import InputError
from paragone_exllama.exllama_options import ExLlamaV2LoadOptions
from paragone_exllama.gpu.nvidia import AMPERE, visible_gpus
from paragone_exllama.library import PAGE

_block_diagonal = Params.get_block_diag_mask


def choose_attention(config: ExLlamaV2Config, options: ExLlamaV2LoadOptions) -> bool:
    """Set up the attention of a model that will be loaded. Return whether the attention is paged. Raises InputError."""
    if not all(gpu.capability >= AMPERE for gpu in visible_gpus()):
        config.no_flash_attn = True  # by default, the library uses flash-attn even on older GPUs
    flash = bool(attn.has_flash_attn) and not config.no_flash_attn
    possible = flash and bool(attn.has_flash_attn_with_paged)
    if options.paged and not possible:
        raise InputError(
            "Paged attention needs flash-attn 2.5.7 or newer, a GPU of the Ampere generation or newer and a "
            "model that flash-attn supports.",
            hint="Install flash-attn in the engine's environment, or remove the option paged.",
        )
    if not flash:
        # mypy does not allow an assignment to a method.
        setattr(Params, "get_block_diag_mask", _causal)  # noqa: B010
        if config.arch.lm.swa or config.arch.lm.alternating_swa:
            # For all tokens of a chunk, the library uses the sliding window of the last token, so chunks must be short.
            config.max_input_len = PAGE
            config.max_attention_size = PAGE**2
    return possible if options.paged is None else options.paged


def _causal(params: Any, device: Any) -> Any:
    """Return the attention mask of one computation: block-diagonal for images, else causal."""
    if params.cu_seqlens is not None or params.seq_len == 1:
        return _block_diagonal(params, device)
    from torch.nn.attention.bias import causal_lower_right

    if not hasattr(params, "causal"):  # all layers share the mask, because it is large
        params.causal = causal_lower_right(params.seq_len, params.past_len + params.seq_len)
    return params.causal
