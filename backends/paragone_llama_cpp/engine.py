"""The llama.cpp engine: loads a GGUF and answers prompts, on the library's low-level interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import llama_cpp
from llama_cpp import llama_cpp as lib

from paragone import (
    Cancelled,
    Caution,
    Engine,
    Event,
    LoadedModel,
    Message,
    OpenRequest,
    Probe,
    Report,
    RunRequest,
    ScoreRequest,
    Token,
)
from paragone_llama_cpp.context import Context
from paragone_llama_cpp.loading import load_model, make_context, meta
from paragone_llama_cpp.options import LlamaCppLoadOptions, LlamaCppSampling
from paragone_llama_cpp.prompt import PromptMaker
from paragone_llama_cpp.run import run
from paragone_llama_cpp.sampler import Sampler
from paragone_llama_cpp.template import ChatTemplate
from paragone_llama_cpp.text import THINKING_TAGS, AnswerText
from paragone_llama_cpp.vocab import Vocab

__all__ = ["LlamaCppEngine"]


class LlamaCppEngine(Engine[LlamaCppLoadOptions, LlamaCppSampling]):
    """One GGUF model in llama.cpp."""

    load_options = LlamaCppLoadOptions
    sampling = LlamaCppSampling

    @classmethod
    def probe(cls) -> Probe:
        """Say what the library is and what it was built with."""
        return Probe(usable=True, facts={"llama-cpp-python": llama_cpp.__version__})

    def load(
        self, request: OpenRequest, options: LlamaCppLoadOptions, report: Report, cancelled: Cancelled
    ) -> LoadedModel:
        """Open a GGUF file."""
        path = Path(request.model).expanduser()
        self._model = load_model(path, options, report, cancelled)
        self._vocab = Vocab(self._model, [text for tags in THINKING_TAGS for text in tags])
        self._own_threads = options.n_threads
        self._threads = options.n_threads or request.threads or 1
        pointer = make_context(
            self._model,
            options,
            n_ctx=options.n_ctx or lib.llama_model_n_ctx_train(self._model),
            n_batch=options.n_batch or 128,
            threads=self._threads,
            name=path.name,
        )
        self._context = Context(pointer, self._vocab.size)
        source = options.chat_template or meta(self._model, "tokenizer.chat_template")
        template = source and ChatTemplate(
            source,
            bos=self._vocab.written(self._vocab.bos).decode() if self._vocab.bos >= 0 else "",
            eos=self._vocab.written(self._vocab.eos).decode() if self._vocab.eos >= 0 else "",
            owner=path.name,
        )
        self._prompts = PromptMaker(
            self._vocab, template or None, context=self._context.size, owner=path.name
        )
        cautions: tuple[Caution, ...] = ()
        if not template:
            cautions = (Caution(code="no-chat-template", sentence=f"{path.name} has no chat template."),)
        return LoadedModel(name=path.name, context=self._context.size, cautions=cautions)

    def generate(
        self, request: RunRequest, sampling: LlamaCppSampling, cancelled: Cancelled
    ) -> Iterator[Event]:
        """Answer a prompt."""
        prompt = self._prompts.make(request.messages, sampling)
        yield from prompt.cautions
        self._share_cores(request.threads)
        sampler = Sampler(sampling, self._vocab)
        try:
            yield from run(
                self._context,
                self._vocab,
                sampler,
                prompt.tokens,
                AnswerText(sampling.stop, inside=prompt.inside),
                cancelled,
                max_tokens=sampling.max_tokens,
                logprobs=request.logprobs,
                cold=request.cold,
            )
        finally:
            sampler.close()

    def count(self, messages: Sequence[Message]) -> int:
        """Return the length of the prompt in tokens."""
        return len(self._prompts.whole(messages).tokens)

    def score(self, request: ScoreRequest) -> Sequence[Token]:
        """Return the tokens of the text with their log-probabilities."""
        raise NotImplementedError

    def _share_cores(self, threads: int | None) -> None:
        wanted = self._own_threads or threads or self._threads
        if wanted != self._threads:
            lib.llama_set_n_threads(self._context.pointer, wanted, wanted)
            self._threads = wanted
