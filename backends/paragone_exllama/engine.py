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
from paragone import answer_text, chat_prompt, shared_options
from paragone.options import as_values, build
from paragone_exllama import exllama_options, inference, loading, model_folder
from paragone_exllama.probe import extension_folder, probe, release_lock


def cautions(
    library: inference.Library, options: exllama_options.ExLlamaLoadOptions, *, owner: str, template: bool
) -> Iterator[paragone.Caution]:
    if not template:
        sentence = f"{owner} has no chat template: the model continues the plain text of the messages."
        yield paragone.Caution(code="no-chat-template", sentence=sentence)
    if library.facts.get("attention") == "unpaged":
        sentence = "Without paged attention (flash-attn), only the latest conversation is kept in the cache."
        yield paragone.Caution(code="unpaged", sentence=sentence)
    if library.trained is None:
        return
    if options.max_seq_len is None and library.capacity < library.trained - 256:
        sentence = (
            f"The context is {library.capacity:,} tokens instead of the model's {library.trained:,}, "
            "to fit in the VRAM."
        )
        yield paragone.Caution(code="context-reduced", sentence=sentence)
    scaled = isinstance(options, exllama_options.ExLlamaV2LoadOptions) and any(
        (options.rope_scale, options.rope_alpha, options.rope_yarn)
    )
    if library.capacity > library.trained and not scaled:
        sentence = (
            f"The context is {library.capacity:,} tokens, but the model was trained for {library.trained:,}."
        )
        yield paragone.Caution(code="beyond-trained-context", sentence=sentence)


BROKEN = 70
"""The exit code of a worker whose GPU context is no longer usable (EX_SOFTWARE)."""

_FATAL_ERRORS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "HIP error")
"""Texts of errors after which every later CUDA call in the same process fails."""


class _ExLlamaEngine(paragone.Engine[exllama_options.ExLlamaLoadOptions, exllama_options.ExLlamaSampling]):
    sampling = exllama_options.ExLlamaSampling
    name: ClassVar[str]
    title: ClassVar[str]
    formats: ClassVar[Collection[model_folder.StorageFormat]]
    library: ClassVar[str]
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
        drafter = wanted.draft.name if wanted.draft else "n-grams" if options.draft_ngram else ""
        loading.prepare_process()
        with loading.translate_failures(self.title, wanted):
            library: inference.Library = resolve_name(self.library)(wanted, options, report, cancelled)
            self._library = library
            self._vocab = inference.ExllamaVocab(library, files, folder.name)
        report(1.0)
        self._prompts = chat_prompt.PromptMaker(
            library.tokenize,
            template,
            bos=self._vocab.bos,
            context=library.capacity,
            option="max_seq_len",
            owner=folder.name,
        )
        fixed = options.chunk_size is not None
        self._chunk_size = inference.ChunkSize(library.largest_chunk, fixed=fixed)
        # Rounding depends on the chunk boundaries. Fixed boundaries make cold runs reproducible.
        cold = library.largest_chunk if fixed else min(inference.FIRST, library.largest_chunk)
        self._cold_chunk_size = inference.ChunkSize(cold, fixed=True)
        return paragone.LoadedModel(
            name=folder.name,
            context=library.capacity,
            size=folder.size,
            quantization=folder.stored.name,
            architecture=folder.architecture,
            cautions=tuple(cautions(library, options, owner=folder.name, template=template is not None)),
            facts={
                "program": self.title,
                "origin": sys.prefix,
                "version": f"{library.facts[self.title]}, PyTorch {library.facts['PyTorch']}",
                **library.facts,
                "KV cache": options.cache_type,
                "drafts": f"{options.draft_tokens} tokens by {drafter}" if drafter else "none",
                "prompt slice": f"up to {library.largest_chunk} tokens",
            },
            weights=weights,
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
                self._library.forget()
            yield from inference.run(
                self._library,
                self._vocab,
                prompt.tokens,
                answer_text.AnswerText(sampling.stop, inside=prompt.inside),
                cancelled,
                self._cold_chunk_size if request.cold else self._chunk_size,
                sampling=sampling,
                logprobs=request.logprobs,
            )

    def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        return self._prompts.tokenized(request, build(self.sampling, request.sampling, owner=self.title))

    def score(
        self, request: paragone.ScoreRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.Event]:
        tokens, start = self._prompts.to_score(request.messages, request.text)
        with self._failures():
            yield from inference.score(self._library, self._vocab, tokens, start, cancelled, top=request.top)

    def distributions(
        self, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.LogitsBlock]:
        """Compute the logits after each token from `request.start` on, in chunks of at most OUTPUTS tokens."""
        self._prompts.check_distributions(request, self._vocab.size)
        with self._failures():
            yield from inference.distributions(self._library, self._vocab, request, cancelled)

    def vocabulary(self) -> paragone.Vocabulary:
        return self._vocab.vocabulary

    @classmethod
    def estimate(
        cls, request: paragone.OpenRequest, options: exllama_options.ExLlamaLoadOptions
    ) -> paragone.MemoryEstimate:
        return loading.estimate(loading.check_request(request, options, cls.formats, cls.title))

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Convert exceptions that the library raises while it computes to errors for the user."""
        try:
            yield
        except paragone.ParagoneError:
            raise
        except Exception as error:
            raise self._recover(error) from error

    def _recover(self, error: Exception) -> paragone.EngineError:
        """Replace the generator after a failure, and return the error for the user.

        Ends this process if the GPU context is no longer usable.
        """
        traceback.print_exception(error)
        lines = str(error).strip().splitlines()
        reason = lines[0][:300].rstrip(".") if lines else "no reason given"
        full = loading.is_out_of_memory(error)
        if full or not any(sign in str(error) for sign in _FATAL_ERRORS):
            try:
                self._library.rebuild()
            except Exception:  # noqa: BLE001 (whatever the error is, this process is no longer usable)
                traceback.print_exc()
            else:
                if full:
                    return paragone.EngineError(
                        "The GPU ran out of memory in the middle of the answer.",
                        hint="Lower chunk_size or max_seq_len, or set cache_type to q8, q6 or q4.",
                    )
                return paragone.EngineError(
                    f"{self.title} failed in the middle of the answer: {reason}.",
                    hint="Send the prompt again.",
                )
        sys.stderr.write(f"{self.title} failed and cannot recover: {reason}\n")
        sys.stderr.flush()
        os._exit(BROKEN)


class ExLlamaV2Engine(_ExLlamaEngine):
    load_options = exllama_options.ExLlamaV2LoadOptions
    name = "exllamav2"
    title = "ExLlamaV2"
    formats = model_folder.V2_FORMATS
    library = "paragone_exllama.v2:V2"


class ExLlamaV3Engine(_ExLlamaEngine):
    load_options = exllama_options.ExLlamaLoadOptions
    name = "exllamav3"
    title = "ExLlamaV3"
    formats = model_folder.V3_FORMATS
    library = "paragone_exllama.v3:V3"
