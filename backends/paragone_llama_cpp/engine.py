"""The llama.cpp engine: opens a GGUF and answers prompts, on the library's low-level interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from llama_cpp import llama_cpp as lib

from paragone import (
    Cancelled,
    Caution,
    Engine,
    EngineError,
    Event,
    InputError,
    LoadedModel,
    Message,
    OpenRequest,
    Probe,
    Report,
    RunRequest,
    ScoreRequest,
    Token,
)
from paragone.chat.prompt import PromptMaker
from paragone.chat.template import ChatTemplate
from paragone.chat.text import THINKING_TAGS, AnswerText
from paragone.cores import physical_cores
from paragone_llama_cpp import library
from paragone_llama_cpp.abort import aborted_by
from paragone_llama_cpp.context import Context
from paragone_llama_cpp.gguf import Header
from paragone_llama_cpp.grammar import text_or_file
from paragone_llama_cpp.loading import load_model, make_context, settled
from paragone_llama_cpp.lora import apply_lora
from paragone_llama_cpp.memory import available, longest_context
from paragone_llama_cpp.models import check_model
from paragone_llama_cpp.options import LlamaCppLoadOptions, LlamaCppSampling
from paragone_llama_cpp.rpc import add_rpc_servers
from paragone_llama_cpp.run import run
from paragone_llama_cpp.sampler import make_sampler
from paragone_llama_cpp.score import score
from paragone_llama_cpp.vocab import Vocab

__all__ = ["LlamaCppEngine"]

_SHORTEST = 512
"""Tokens below which a context is no use: memory too short for that is an error."""


class LlamaCppEngine(Engine[LlamaCppLoadOptions, LlamaCppSampling]):
    """One GGUF model in llama.cpp."""

    load_options = LlamaCppLoadOptions
    sampling = LlamaCppSampling

    @classmethod
    def probe(cls) -> Probe:
        """Say what the library is, what it was built with and what it can compute on."""
        return Probe(usable=True, facts=library.facts())

    def load(
        self, request: OpenRequest, options: LlamaCppLoadOptions, report: Report, cancelled: Cancelled
    ) -> LoadedModel:
        """Open a GGUF file."""
        path = Path(request.model).expanduser()
        header = check_model(path)
        add_rpc_servers(options.rpc_servers)
        options = settled(options, on_gpu=options.n_gpu_layers != 0 and library.offloads())
        free = available()
        self._model, on_gpu = load_model(path, options, report, cancelled)
        if lib.llama_model_has_encoder(self._model):
            raise InputError(f"{path.name} is an encoder model, such as T5, which cannot be run here.")
        self._vocab = Vocab(self._model, [text for tags in THINKING_TAGS for text in tags])
        self._own_threads = options.n_threads
        self._threads = self._usual_threads = options.n_threads or request.threads or physical_cores()
        n_ctx = options.n_ctx or longest_context(self._model, options, header, free)
        self._context, flash_attn = self._make_context(options, n_ctx, path.name)
        apply_lora(self._model, self._context.pointer, options)
        template = self._make_template(options, header, path.name)
        self._prompts = PromptMaker(
            self._vocab.tokenize,
            template,
            bos=self._vocab.bos if self._vocab.adds_bos else None,
            context=self._context.size,
            option="n_ctx",
            owner=path.name,
        )
        with aborted_by(cancelled, self._context.pointer):
            if not self._context.warm_up(self._vocab.bos):
                raise EngineError(f"Loading {path.name} was given up.")
        return LoadedModel(
            name=header.name or path.stem,
            context=self._context.size,
            size=lib.llama_model_size(self._model),
            quantization=header.quantization,
            architecture=header.architecture,
            cautions=tuple(self._cautions(options, path.name, template)),
            facts={
                **library.facts(),
                "layers on a GPU": on_gpu,
                "KV cache": f"K {options.type_k}, V {options.type_v}",
                "flash attention": flash_attn,
                "threads": str(self._threads),
                "prompt slice": f"{self._context.n_batch} tokens",
            },
        )

    def generate(
        self, request: RunRequest, sampling: LlamaCppSampling, cancelled: Cancelled
    ) -> Iterator[Event]:
        """Answer a prompt."""
        prompt = self._prompts.make(request.messages, sampling)
        text = AnswerText(sampling.stop, inside=prompt.inside)
        sampler = make_sampler(sampling, self._vocab, text)
        self._share_cores(request.threads)
        yield from prompt.cautions
        try:
            yield from run(
                self._context,
                self._vocab,
                sampler,
                prompt.tokens,
                text,
                cancelled,
                max_tokens=sampling.max_tokens,
                logprobs=request.logprobs,
                cold=request.cold,
            )
        finally:
            sampler.close()

    def count(self, messages: Sequence[Message]) -> int:
        """Return the length in tokens of the prompt that these messages make."""
        return len(self._prompts.whole(messages).tokens)

    def score(self, request: ScoreRequest) -> Sequence[Token]:
        """Return the tokens of a text with their log-probabilities."""
        tokens, start = self._prompts.to_score(request.messages, request.text)
        return score(self._context, self._vocab, tokens, start, top=request.top)

    def close(self) -> None:
        """Free the model."""
        lib.llama_free(self._context.pointer)
        lib.llama_model_free(self._model)

    def _make_context(self, options: LlamaCppLoadOptions, n_ctx: int, owner: str) -> tuple[Context, str]:
        while True:
            try:
                pointer, flash_attn = make_context(
                    self._model,
                    options,
                    n_ctx=n_ctx,
                    threads=self._threads,
                    owner=owner,
                )
            except EngineError:
                # What memory really holds is known only when it is taken.
                n_ctx //= 2
                if options.n_ctx is not None or n_ctx < _SHORTEST:
                    raise
            else:
                return Context(pointer, self._vocab.size), flash_attn

    def _make_template(self, options: LlamaCppLoadOptions, header: Header, owner: str) -> ChatTemplate | None:
        source = header.values.get("tokenizer.chat_template")
        if options.chat_template is not None:
            source = text_or_file(options.chat_template, "chat_template")
        if not source:
            return None
        bos, eos = (self._vocab.written(token).decode("utf-8", "replace") for token in self._vocab.marks)
        return ChatTemplate(str(source), bos=bos, eos=eos, owner=owner)

    def _cautions(
        self, options: LlamaCppLoadOptions, owner: str, template: ChatTemplate | None
    ) -> Iterator[Caution]:
        trained = lib.llama_model_n_ctx_train(self._model)
        size = self._context.size
        if template is None:
            sentence = f"{owner} has no chat template: the text of the messages is completed as it stands."
            yield Caution(code="no-chat-template", sentence=sentence)
        if options.n_ctx is None and size < trained:
            sentence = f"The context is {size:,} tokens and not the model's {trained:,}, to fit in memory."
            yield Caution(code="context-reduced", sentence=sentence)
        if size > trained and options.rope_scaling is None and options.rope_freq_scale is None:
            sentence = f"The context is {size:,} tokens, but the model was trained for {trained:,}."
            yield Caution(code="beyond-trained-context", sentence=sentence)
        if options.n_gpu_layers != 0 and not library.offloads():
            if options.n_gpu_layers or options.tensor_split or options.main_gpu is not None:
                sentence = "A GPU was asked for, but this llama-cpp-python cannot use one here."
                yield Caution(code="no-gpu", sentence=sentence)
            elif library.has_nvidia_gpu():
                sentence = "This machine has an NVIDIA GPU, but llama-cpp-python was built for the CPU alone."
                yield Caution(code="no-gpu", sentence=sentence)

    def _share_cores(self, threads: int | None) -> None:
        wanted = self._own_threads or threads or self._usual_threads
        if wanted != self._threads:
            lib.llama_set_n_threads(self._context.pointer, wanted, wanted)
            self._threads = wanted
