"""The engines of ExLlamaV2 and ExLlamaV3, which open a model's folder and answer prompts."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Collection, Iterator
from pkgutil import resolve_name
from typing import ClassVar

import paragone
from paragone import answer_text, chat_prompt, engine_events, shared_options
from paragone.options import as_values, build
from paragone_exllama import exllama_options, inference, loading, model_folder, open_model
from paragone_exllama.probe import extension_folder, probe, release_lock

BROKEN = 70
"""The exit code of a worker whose GPU context is no longer usable (EX_SOFTWARE)."""

_FATAL_ERRORS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "HIP error")
"""Texts of errors after which every later CUDA call in the same process fails."""


class _ExLlamaEngine(paragone.Engine[exllama_options.ExLlamaLoadOptions, exllama_options.ExLlamaSampling]):
    sampling = exllama_options.ExLlamaSampling
    name: ClassVar[str]
    title: ClassVar[str]
    formats: ClassVar[Collection[model_folder.StorageFormat]]
    adapter: ClassVar[str]
    """The class that opens a model, as `module:class`; its module imports the library."""

    @classmethod
    def probe(cls) -> paragone.Probe:
        return probe(cls.name, cls.title)

    def load(
        self,
        request: paragone.OpenRequest,
        options: exllama_options.ExLlamaLoadOptions,
        report: paragone.Report,
        cancelled: paragone.Cancelled,
    ) -> paragone.LoadedModel:
        wanted = loading.check_request(request, options, self.formats, self.title)
        folder = wanted.model
        usable = self.probe()  # an import would fail with a less useful reason
        if not usable.usable:
            raise paragone.EngineError(usable.reason, hint=usable.remedy)
        if cuda := usable.facts.get("CUDA of PyTorch"):
            release_lock(extension_folder(self.name, cuda))
        from paragone.chat_template import ChatTemplate

        files = model_folder.read_tokenizer_files(folder, options.chat_template)
        template = (
            ChatTemplate(files.template, bos=files.bos, eos=files.eos, owner=folder.name)
            if files.template is not None
            else None
        )
        weights = loading.weights_of(wanted)
        loading.prepare_process()
        with loading.translate_failures(self.title, wanted):
            model: open_model.ExLlamaModel = resolve_name(self.adapter)(
                wanted, options, files, *loading.stages(wanted, report, cancelled)
            )
        report(1.0)
        self._model = model
        self._prompts = chat_prompt.PromptMaker(
            model.tokenize,
            template,
            bos=model.bos,
            context=model.capacity,
            option="max_seq_len",
            owner=folder.name,
        )
        drafter = wanted.draft.name if wanted.draft else "n-grams" if options.draft_ngram else ""
        return paragone.LoadedModel(
            name=folder.name,
            context=model.capacity,
            size=folder.size,
            quantization=folder.quantization,
            architecture=folder.architecture,
            cautions=tuple(self._cautions(options, folder.name, template=template is not None)),
            facts={
                "program": self.title,
                "origin": sys.prefix,
                "version": f"{model.facts[self.title]}, PyTorch {model.facts['PyTorch']}",
                **model.facts,
                "KV cache": options.cache_type,
                "drafts": f"{options.draft_tokens} tokens by {drafter}" if drafter else "none",
                "prompt slice": f"up to {model.largest_chunk} tokens",
            },
            weights=weights,
        )

    def _cautions(
        self, options: exllama_options.ExLlamaLoadOptions, owner: str, *, template: bool
    ) -> Iterator[paragone.Caution]:
        if self._model.facts.get("attention") == "unpaged":
            sentence = (
                "Without paged attention (flash-attn), only the latest conversation is kept in the cache."
            )
            yield paragone.Caution(code="unpaged", sentence=sentence)
        context, trained = self._model.capacity, self._model.trained
        scaled = isinstance(options, exllama_options.ExLlamaV2LoadOptions) and any(
            (options.rope_scale, options.rope_alpha, options.rope_yarn)
        )
        reduced = options.max_seq_len is None and context < trained - exllama_options.PAGE
        yield from engine_events.model_cautions(
            owner,
            template=template,
            context=context,
            trained=trained,
            reduced_by="the VRAM" if reduced else "",
            scaled=scaled,
        )

    def generate(
        self,
        request: paragone.RunRequest,
        sampling: exllama_options.ExLlamaSampling,
        cancelled: paragone.Cancelled,
    ) -> Iterator[paragone.Event]:
        """Answer a prompt. The first event has the settings in force."""
        sampling = shared_options.with_seed(sampling, request.drawn_seed)
        prompt = self._prompts.make(request.messages, sampling, text=request.text)
        yield paragone.RunSettings(
            seed=sampling.seed,
            sampling=as_values(sampling),
            prompt=prompt.text,
            prompt_ids=tuple(prompt.tokens) if request.prompt_ids else None,
        )
        with self._failures():
            if request.cold:
                self._model.forget()
            yield from inference.run(
                self._model,
                prompt.tokens,
                answer_text.AnswerText(sampling.stop, inside=prompt.inside),
                cancelled,
                sampling=sampling,
                logprobs=request.logprobs,
                cold=request.cold,
            )

    def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        return self._prompts.tokenized(request, build(self.sampling, request.sampling, owner=self.title))

    def score(
        self, request: paragone.ScoreRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.Event]:
        tokens, start = self._prompts.to_score(request.messages, request.text)
        with self._failures():
            yield from inference.score(self._model, tokens, start, cancelled, top=request.top)

    def distributions(
        self, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.LogitsBlock]:
        self._prompts.check_distributions(request, self._model.vocab_size)
        with self._failures():
            yield from inference.distributions(self._model, request, cancelled)

    def vocabulary(self) -> paragone.Vocabulary:
        return self._model.vocabulary

    @classmethod
    def estimate(
        cls, request: paragone.OpenRequest, options: exllama_options.ExLlamaLoadOptions
    ) -> paragone.MemoryEstimate:
        return loading.estimate(loading.check_request(request, options, cls.formats, cls.title))

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Convert exceptions that the library raises while it computes to errors for the user, and replace the generator.

        Ends this process if the GPU context is no longer usable.
        """
        try:
            yield
        except paragone.ParagoneError:
            raise
        except Exception as error:
            traceback.print_exception(error)
            lines = str(error).strip().splitlines()
            reason = lines[0][:300].rstrip(".") if lines else "no reason given"
            full = loading.is_out_of_memory(error)
            fatal = not full and any(sign in str(error) for sign in _FATAL_ERRORS)
            if not fatal:
                try:
                    self._model.rebuild()
                except Exception:  # noqa: BLE001 (whatever the error is, this process is no longer usable)
                    traceback.print_exc()
                    fatal = True
            if fatal:
                sys.stderr.write(f"{self.title} failed and cannot recover: {reason}\n")
                sys.stderr.flush()
                os._exit(BROKEN)
            if full:
                raise paragone.EngineError(
                    "The GPU ran out of memory in the middle of the answer.",
                    hint="Lower chunk_size or max_seq_len, or set cache_type to q8, q6 or q4.",
                ) from error
            raise paragone.EngineError(
                f"{self.title} failed in the middle of the answer: {reason}.", hint="Send the prompt again."
            ) from error


class ExLlamaV2Engine(_ExLlamaEngine):
    load_options = exllama_options.ExLlamaV2LoadOptions
    name = "exllamav2"
    title = "ExLlamaV2"
    formats = model_folder.V2_FORMATS
    adapter = "paragone_exllama.v2:V2"


class ExLlamaV3Engine(_ExLlamaEngine):
    load_options = exllama_options.ExLlamaLoadOptions
    name = "exllamav3"
    title = "ExLlamaV3"
    formats = model_folder.V3_FORMATS
    adapter = "paragone_exllama.v3:V3"
