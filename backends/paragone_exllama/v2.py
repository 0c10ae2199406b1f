"""An open model in ExLlamaV2 0.3.2. Only this module imports ExLlamaV2."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias

import exllamav2
import torch
from exllamav2 import ExLlamaV2Cache, ExLlamaV2Cache_Q4, ExLlamaV2Cache_Q6, ExLlamaV2Cache_Q8, attn
from exllamav2.attn_params import Params
from exllamav2.generator import ExLlamaV2DynamicGenerator, ExLlamaV2DynamicJob, ExLlamaV2Sampler
from exllamav2.util import cuda_sync_active

from paragone import InputError
from paragone_exllama import exllama_options, loading, model_folder, open_model, probe

_block_diagonal = Params.get_block_diag_mask


def choose_attention(
    config: exllamav2.ExLlamaV2Config, options: exllama_options.ExLlamaV2LoadOptions
) -> bool:
    """Set up the attention of a model that will be loaded. Return whether the attention is paged. Raises InputError."""
    if not all(gpu.capability >= probe.AMPERE for gpu in probe.visible_gpus()):
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
            config.max_input_len = exllama_options.PAGE
            config.max_attention_size = exllama_options.PAGE**2
    return possible if options.paged is None else options.paged


def _causal(params: Any, device: Any) -> Any:
    """Return the attention mask of one computation: block-diagonal for images, else causal."""
    if params.cu_seqlens is not None or params.seq_len == 1:
        return _block_diagonal(params, device)
    from torch.nn.attention.bias import causal_lower_right

    if not hasattr(params, "causal"):  # all layers share the mask, because it is large
        params.causal = causal_lower_right(params.seq_len, params.past_len + params.seq_len)
    return params.causal


_Cache: TypeAlias = ExLlamaV2Cache | ExLlamaV2Cache_Q8 | ExLlamaV2Cache_Q6 | ExLlamaV2Cache_Q4
_CACHES: dict[str, type[_Cache]] = {
    "fp16": ExLlamaV2Cache, "q8": ExLlamaV2Cache_Q8, "q6": ExLlamaV2Cache_Q6, "q4": ExLlamaV2Cache_Q4,
}  # fmt: skip


class _Job(ExLlamaV2DynamicJob):
    """A job that keeps a copy of the model's logits, because the samplers change the logits in place."""

    kept: list[torch.Tensor] | None = None

    def receive_logits(self, logits: torch.Tensor) -> Any:
        if self.kept is not None:
            self.kept.append(logits[0, 0].clone())
        return super().receive_logits(logits)


class V2(open_model.ExLlamaModel):
    generator: ExLlamaV2DynamicGenerator
    tokenizer: exllamav2.ExLlamaV2Tokenizer

    def __init__(
        self,
        request: loading.Request,
        options: exllama_options.ExLlamaV2LoadOptions,
        files: model_folder.TokenizerFiles,
        progress: loading.ModuleProgress,
        draft_progress: loading.ModuleProgress,
    ) -> None:
        self.wait = cuda_sync_active
        self._options = options
        folders = [request.model] + ([request.draft] if request.draft is not None else [])
        config, *drafts = configs = [_config(folder, options, request.context) for folder in folders]
        attentions = [choose_attention(one, options) for one in configs]
        paged = all(attentions)
        self.largest_chunk = min(int(one.max_input_len) for one in configs)
        draft = draft_cache = None
        if drafts:
            draft, draft_cache = _load(drafts[0], "fp16", request.context, (), draft_progress)
        self._model, self._cache = _load(
            config, options.cache_type, request.context, options.gpu_split, progress
        )
        self._loras: list[exllamav2.ExLlamaV2Lora] = []
        if request.lora is not None:
            load = exllamav2.ExLlamaV2Lora.from_directory
            self._loras = [load(self._model, str(request.lora), options.lora_scale)]
        self.tokenizer = exllamav2.ExLlamaV2Tokenizer(config)

        def make_generator() -> ExLlamaV2DynamicGenerator:
            generator = ExLlamaV2DynamicGenerator(
                model=self._model,
                cache=self._cache,
                tokenizer=self.tokenizer,
                max_batch_size=1,
                max_chunk_size=self.largest_chunk,
                max_q_size=max(8, options.draft_tokens + 1),
                draft_model=draft,
                draft_cache=draft_cache,
                num_draft_tokens=options.draft_tokens,
                use_ngram_draft=options.draft_ngram,
                paged=paged,
            )
            if self._loras:
                generator.set_loras(self._loras)
            return generator

        self.make_generator = make_generator
        self.rebuild()
        self.generator.warmup()
        self.page = int(self.generator.page_size)
        self.drafts = bool(self.generator.num_draft_tokens)
        # With a draft, the generator stops `num_draft_tokens` before the end of the cache.
        self.capacity = request.context - self.generator.num_draft_tokens
        self.vocab_size = int(config.vocab_size)
        self.trained = int(config.original_max_seq_len)
        versions = {"ExLlamaV2": exllamav2.__version__, "PyTorch": torch.__version__}
        self.facts = {**versions, "attention": "paged" if paged else "unpaged"}
        super().__init__(files, request.model.name, options.chunk_size)

    def _make_job(
        self, tokens: Sequence[int], sampling: exllama_options.ExLlamaSampling, *, limit: int, ends: list[int]
    ) -> _Job:
        # The generator searches n-grams in the last tokens, and assumes that there are enough tokens.
        long = len(tokens) >= self.generator.max_ngram - 1
        self.generator.use_ngram_draft = self._options.draft_ngram and long
        return _Job(
            input_ids=torch.tensor([tokens], dtype=torch.long),
            # With a draft, the generator stops `num_draft_tokens` before the given limit.
            max_new_tokens=limit + self.generator.num_draft_tokens,
            gen_settings=_settings(sampling),
            seed=sampling.seed,
            stop_conditions=ends,
        )

    def run_iteration(self) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = self.generator.iterate()
        for result in results:
            # At the token limit, the generator returns the tokens of a character one by one, although all tokens are known.
            if result.get("eos_reason") == "max_new_tokens" and "\ufffd" in result.get("text", ""):
                result["text"] = self.tokenizer.decode(result["token_ids"])[0]
        return results

    def _forward(self, tokens: Sequence[int], chunk: int) -> Generator[open_model.Logits, None, None]:
        self._cache.current_seq_len = 0
        try:
            for at in range(0, len(tokens), chunk):
                ids = torch.tensor([tokens[at : at + chunk]], dtype=torch.long)
                # Pass None instead of an empty list, because the layers read a list's first item without a check.
                logits = self._model.forward(ids, self._cache, loras=self._loras or None, cpu_logits=True)
                yield logits[0]
        finally:
            self.forget()

    def forget(self) -> None:
        self.generator.reset_page_table()


def _config(
    folder: model_folder.ModelFolder, options: exllama_options.ExLlamaV2LoadOptions, context: int
) -> exllamav2.ExLlamaV2Config:
    config = exllamav2.ExLlamaV2Config(str(folder.path))
    if options.rope_yarn is not None:
        if config.alt_rope_method != "yarn":
            config.yarn_rope_original_max_position_embeddings = config.max_seq_len
        config.alt_rope_method = "yarn"
        config.yarn_rope_factor = options.rope_yarn
    if options.rope_scale is not None:
        config.scale_pos_emb = options.rope_scale
    if options.rope_alpha is not None:
        config.scale_alpha_value = options.rope_alpha
    config.max_seq_len = context
    config.max_input_len = min(options.chunk_size or exllama_options.CHUNK, context)
    config.max_attention_size = config.max_input_len**2
    config.max_output_len = exllama_options.OUTPUTS
    config.arch_compat_overrides()
    return config


def _load(
    config: exllamav2.ExLlamaV2Config,
    cache_type: str,
    context: int,
    split: Sequence[float],
    progress: loading.ModuleProgress,
) -> tuple[exllamav2.ExLlamaV2, _Cache]:
    model, make_cache = exllamav2.ExLlamaV2(config), _CACHES[cache_type]
    if split:
        model.load(list(split), callback=progress)
        return model, make_cache(model, max_seq_len=context)
    cache = make_cache(model, max_seq_len=context, lazy=True)
    model.load_autosplit(cache, callback=progress)
    return model, cache


def _settings(sampling: exllama_options.ExLlamaSampling) -> ExLlamaV2Sampler.Settings:
    greedy = sampling.temperature == 0 or sampling.top_p == 0
    penalties = sampling.penalty_last_n > 0
    return ExLlamaV2Sampler.Settings(
        token_repetition_penalty=sampling.repeat_penalty if penalties else 1.0,
        token_repetition_range=sampling.penalty_last_n,
        token_frequency_penalty=sampling.frequency_penalty if penalties else 0.0,
        token_presence_penalty=sampling.presence_penalty if penalties else 0.0,
        temperature=1.0 if greedy else sampling.temperature,
        # As in llama.cpp, unlikely tokens are removed before the temperature is applied.
        temperature_last=True,
        top_k=1 if greedy else sampling.top_k,
        top_p=0.0 if greedy else sampling.top_p,
        min_p=0.0 if greedy else sampling.min_p,
    )
