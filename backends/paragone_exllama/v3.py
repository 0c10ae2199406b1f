"""An open model in ExLlamaV3 1.6. Only this module imports ExLlamaV3."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import exllamav3
import torch
from exllamav3.model.lora import LoRA
from exllamav3.util import cuda_sync_active
from exllamav3.version import __version__

from paragone import InputError
from paragone_exllama import exllama_options, loading, model_folder, open_model

_CACHE_BITS = {"q8": 8, "q6": 6, "q4": 4}
_NGRAM = 2
"""Smallest number of tokens that must repeat earlier tokens before ExLlamaV3 proposes a continuation."""


class _Job(exllamav3.Job):
    """A job that keeps the logits of its sampled tokens. The library's own `return_logits` fails for a vocabulary whose
    size is not a multiple of 128: the library pads the head to a multiple of 128, but the buffer to a multiple of 32."""

    kept: list[torch.Tensor] | None = None

    def receive_sample(self, logits: torch.Tensor | None, *more: Any, **named: Any) -> Any:
        if self.kept is not None and logits is not None:
            self.kept.append(logits[0, 0].clone())
        return super().receive_sample(logits, *more, **named)


class V3(open_model.ExLlamaModel):
    generator: exllamav3.Generator
    tokenizer: exllamav3.Tokenizer

    def __init__(
        self,
        request: loading.Request,
        options: exllama_options.ExLlamaLoadOptions,
        files: model_folder.TokenizerFiles,
        progress: loading.ModuleProgress,
        draft_progress: loading.ModuleProgress,
    ) -> None:
        if options.lora is not None and request.model.format == "EXL3":
            # The fused kernels that compute the tokens of the answer ignore adapters.
            raise InputError(
                "ExLlamaV3 applies a LoRA adapter to unquantized models only.",
                hint="Remove the option lora, or merge the adapter into the model before quantization.",
            )
        self.wait = cuda_sync_active
        self._context = request.context
        self._drafted = options.draft_tokens if request.draft is not None or options.draft_ngram else 0
        """The number of tokens that a draft proposes at a time; 0 without a draft."""
        self.largest_chunk = min(options.chunk_size or exllama_options.CHUNK, request.context)
        split = list(options.gpu_split) or None
        draft = draft_cache = None
        if request.draft is not None:
            _, draft, draft_cache = self._make_model(request.draft, "fp16")
            draft.load(use_per_device=split, max_chunk_size=self.largest_chunk, callback=draft_progress)
        config, self._model, self._cache = self._make_model(request.model, options.cache_type)
        self._model.load(
            use_per_device=split,
            max_chunk_size=self.largest_chunk,
            max_output_size=exllama_options.OUTPUTS,
            callback=progress,
            draft_model=draft,
        )
        if request.lora is not None:
            self._lora = LoRA.from_directory(self._model, str(request.lora), options.lora_scale)
        self.tokenizer = exllamav3.Tokenizer.from_config(config)
        self._model.warmup(
            cache=self._cache,
            max_chunk_size=self.largest_chunk,
            max_batch_size=1,
            max_q_len=self._drafted + 1,
        )
        self.make_generator = lambda: exllamav3.Generator(
            model=self._model,
            cache=self._cache,
            tokenizer=self.tokenizer,
            max_batch_size=1,
            max_chunk_size=self.largest_chunk,
            draft_model=draft,
            draft_cache=draft_cache,
            num_draft_tokens=self._drafted or None,
            ngram_match_min=_NGRAM if options.draft_ngram else 0,
        )
        self.generator = self.make_generator()
        self.drafts = bool(self._drafted)
        # The generator stops `1 + max_draft_tokens` tokens before the end of the cache.
        self.capacity = request.context - 1 - self.generator.max_draft_tokens
        self.vocab_size = int(config.vocab_size)
        self.trained = int(config.max_position_embeddings)
        self.facts = {"ExLlamaV3": __version__, "PyTorch": torch.__version__, "attention": "paged"}
        super().__init__(files, request.model.name, options.chunk_size)

    def _make_job(
        self, tokens: Sequence[int], sampling: exllama_options.ExLlamaSampling, *, limit: int, ends: list[int]
    ) -> _Job:
        return _Job(
            input_ids=torch.tensor([tokens], dtype=torch.long),
            max_new_tokens=limit,
            sampler=_sampler(sampling),
            seed=sampling.seed,
            stop_conditions=ends,
        )

    def _forward(self, tokens: Sequence[int], chunk: int) -> Generator[open_model.Logits, None, None]:
        self.forget()
        recurrent = [self._cache.get_new_state()] if self._model.get_recurrent_layers() else []
        try:
            for at in range(0, len(tokens), chunk):
                params: dict[str, Any] = {
                    "attn_mode": "flash_attn",
                    "cache": self._cache,
                    "batch_shape": (1, self._context),
                    "past_len": at,
                }
                if recurrent:
                    params["recurrent_states"] = recurrent
                ids = torch.tensor([tokens[at : at + chunk]], dtype=torch.long)
                yield self._model.forward(ids, params)[0]
        finally:
            for state in recurrent:
                self._cache.release_state(state)
            self.forget()

    def rebuild(self) -> None:
        self.generator.close()
        super().rebuild()

    def _make_model(
        self, folder: model_folder.ModelFolder, cache_type: str
    ) -> tuple[exllamav3.Config, exllamav3.Model, exllamav3.Cache]:
        config = exllamav3.Config.from_directory(str(folder.path))
        config.override_dynamic_seq_len(self._context)
        model = exllamav3.Model.from_config(config)
        bits = _CACHE_BITS.get(cache_type)
        cache = exllamav3.Cache(
            model,
            max_num_tokens=self._context,
            layer_type=exllamav3.CacheLayer_fp16 if bits is None else exllamav3.CacheLayer_quant,
            max_batch_size=1,
            max_history=self._drafted,
            **({} if bits is None else {"k_bits": bits, "v_bits": bits}),
        )
        return config, model, cache


def _sampler(sampling: exllama_options.ExLlamaSampling) -> exllamav3.ComboSampler:
    greedy = sampling.temperature == 0 or sampling.top_p == 0
    return exllamav3.ComboSampler(
        rep_p=sampling.repeat_penalty,
        freq_p=sampling.frequency_penalty,
        pres_p=sampling.presence_penalty,
        rep_sustain_range=sampling.penalty_last_n,
        rep_decay_range=0,
        temperature=0.0 if greedy else sampling.temperature,
        # As in llama.cpp, unlikely tokens are removed before the temperature is applied.
        temp_last=True,
        min_p=sampling.min_p,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
    )
