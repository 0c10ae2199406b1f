"""An open model in ExLlamaV3 1.6. Only this module imports ExLlamaV3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from exllamav3 import (
    Cache,
    CacheLayer_fp16,
    CacheLayer_quant,
    ComboSampler,
    Config,
    Generator,
    Model,
    Tokenizer,
)
from exllamav3 import Job as V3Job
from exllamav3.model.lora import LoRA
from exllamav3.util import cuda_sync_active
from exllamav3.version import __version__

from paragone import Cancelled, InputError, Report
from paragone_exllama.exllama_options import (
    CHUNK,
    OUTPUTS,
    ExllamaCacheType,
    ExLlamaLoadOptions,
    ExLlamaSampling,
)
from paragone_exllama.inference import Chunks, GeneratorJob, Library
from paragone_exllama.loading import Request, stages

_CACHE_BITS: dict[ExllamaCacheType, int] = {"q8": 8, "q6": 6, "q4": 4}
_NGRAM = 2
"""Least number of tokens that must repeat earlier ones before ExLlamaV3 proposes a continuation."""


class _Job(V3Job):
    """A job that keeps the logits of its sampled tokens.

    The library's own `return_logits` fails for a vocabulary whose size is not a multiple of 128: the library
    pads the head to a multiple of 128, but the buffer to a multiple of 32.
    """

    kept: list[torch.Tensor] | None = None

    def receive_sample(self, logits: torch.Tensor | None, *more: Any, **named: Any) -> Any:
        if self.kept is not None and logits is not None:
            self.kept.append(logits[0, 0].clone())
        return super().receive_sample(logits, *more, **named)


class V3(Library):
    generator: Generator
    tokenizer: Tokenizer

    def __init__(
        self, request: Request, options: ExLlamaLoadOptions, report: Report, cancelled: Cancelled
    ) -> None:
        if options.lora is not None and request.model.stored.format == "EXL3":
            # The fused kernels that compute the tokens of the answer ignore adapters.
            raise InputError(
                "ExLlamaV3 applies a LoRA adapter to unquantized models only.",
                hint="Remove the option lora, or merge the adapter into the model before quantization.",
            )
        self._options = options
        self.wait = cuda_sync_active
        self._context = request.context
        self.largest_chunk = min(options.chunk_size or CHUNK, request.context)
        draft_progress, progress = stages(request, report, cancelled)
        split = list(options.gpu_split) or None
        self._draft: Model | None = None
        self._draft_cache: Cache | None = None
        if request.draft is not None:
            draft_config = Config.from_directory(str(request.draft.path))
            draft_config.override_dynamic_seq_len(request.context)
            self._draft = Model.from_config(draft_config)
            self._draft_cache = self._make_cache(self._draft, "fp16")
            self._draft.load(use_per_device=split, max_chunk_size=self.largest_chunk, callback=draft_progress)
        config = Config.from_directory(str(request.model.path))
        config.override_dynamic_seq_len(request.context)
        self._model: Model = Model.from_config(config)
        self._cache = self._make_cache(self._model, options.cache_type)
        self._model.load(
            use_per_device=split,
            max_chunk_size=self.largest_chunk,
            max_output_size=OUTPUTS,
            callback=progress,
            draft_model=self._draft,
        )
        if request.lora is not None:
            self._lora = LoRA.from_directory(self._model, str(request.lora), options.lora_scale)
        self.tokenizer = Tokenizer.from_config(config)
        self._model.warmup(
            cache=self._cache,
            max_chunk_size=self.largest_chunk,
            max_batch_size=1,
            max_q_len=self._drafted + 1,
        )
        self.generator = self._make_generator()
        self.drafts = bool(self._drafted)
        # The generator stops `1 + max_draft_tokens` tokens before the end of the cache.
        self.capacity = request.context - 1 - self.generator.max_draft_tokens
        self.vocab_size = int(config.vocab_size)
        self.trained = int(config.max_position_embeddings)
        self.facts = {"ExLlamaV3": __version__, "PyTorch": torch.__version__, "attention": "paged"}

    def _make_job(
        self, tokens: Sequence[int], sampling: ExLlamaSampling, *, limit: int, ends: list[int]
    ) -> GeneratorJob:
        return _Job(
            input_ids=torch.tensor([tokens], dtype=torch.long),
            max_new_tokens=limit,
            sampler=_sampler(sampling),
            seed=sampling.seed,
            stop_conditions=ends,
        )

    def forward(self, tokens: Sequence[int], chunk: int) -> Chunks:
        """Yield the logits after each token, in GPU memory."""
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
        self.generator = self._make_generator()

    @property
    def _drafted(self) -> int:
        """The number of tokens that a draft proposes at a time; 0 without a draft."""
        return self._options.draft_tokens if self._draft is not None or self._options.draft_ngram else 0

    def _make_cache(self, model: Model, cache_type: ExllamaCacheType) -> Cache:
        if cache_type == "fp16":
            return Cache(
                model,
                max_num_tokens=self._context,
                layer_type=CacheLayer_fp16,
                max_batch_size=1,
                max_history=self._drafted,
            )
        bits = _CACHE_BITS[cache_type]
        return Cache(
            model,
            max_num_tokens=self._context,
            layer_type=CacheLayer_quant,
            max_batch_size=1,
            max_history=self._drafted,
            k_bits=bits,
            v_bits=bits,
        )

    def _make_generator(self) -> Generator:
        return Generator(
            model=self._model,
            cache=self._cache,
            tokenizer=self.tokenizer,
            max_batch_size=1,
            max_chunk_size=self.largest_chunk,
            draft_model=self._draft,
            draft_cache=self._draft_cache,
            num_draft_tokens=self._drafted or None,
            ngram_match_min=_NGRAM if self._options.draft_ngram else 0,
        )


def _sampler(sampling: ExLlamaSampling) -> ComboSampler:
    greedy = sampling.temperature == 0 or sampling.top_p == 0
    return ComboSampler(
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
