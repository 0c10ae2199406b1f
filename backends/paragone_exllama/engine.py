"""The engines: a model's folder opened in a worker, and prompts answered from it.

The libraries, and Jinja, are imported when a model is opened: a probe must be able to say what is
missing.
"""

from __future__ import annotations

import codecs
import os
import sys
import time
import traceback
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

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
    ParagoneError,
    Probe,
    Report,
    RunRequest,
    ScoreRequest,
    Token,
)
from paragone.chat.prompt import PromptMaker
from paragone.chat.text import AnswerText
from paragone_exllama.extension import extension_folder, release_lock
from paragone_exllama.folders import ModelFolder, check_folder
from paragone_exllama.formats import Format
from paragone_exllama.library import Library
from paragone_exllama.loading import Request, failures_told, is_out_of_memory, prepare_process
from paragone_exllama.logprobs import log_probability
from paragone_exllama.memory import choose_context
from paragone_exllama.options import (
    ExLlamaLoadOptions,
    ExLlamaSampling,
    ExLlamaV2LoadOptions,
    ExLlamaV3LoadOptions,
)
from paragone_exllama.pace import FIRST, Pace
from paragone_exllama.probe import probe
from paragone_exllama.run import run
from paragone_exllama.tokenizer_files import read_tokenizer_files
from paragone_exllama.vocab import Vocab

if TYPE_CHECKING:
    from paragone.chat.template import ChatTemplate

__all__ = ["BROKEN", "ExLlamaV2Engine", "ExLlamaV3Engine"]

L = TypeVar("L", bound=ExLlamaLoadOptions)

BROKEN = 70
"""The exit code of a worker whose GPU context is of no use any more (EX_SOFTWARE)."""

_BEYOND_REPAIR = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "HIP error")
"""After these, every later call into CUDA fails in the same process."""

_VOCABULARIES = 1024
"""Numbers by which the vocabularies of a model and its draft model may differ: they are padded."""


class _ExLlamaEngine(Engine[L, ExLlamaSampling]):
    """What both engines do."""

    sampling = ExLlamaSampling
    name: ClassVar[str]
    title: ClassVar[str]
    formats: ClassVar[Collection[Format]]

    @classmethod
    def probe(cls) -> Probe:
        """Find out whether the library is usable in this interpreter."""
        return probe(cls.name, cls.title)

    @abstractmethod
    def open(self, request: Request, options: L, report: Report, cancelled: Cancelled) -> Library:
        """Import the library and open the model in it."""

    def load(self, request: OpenRequest, options: L, report: Report, cancelled: Cancelled) -> LoadedModel:
        """Open a model's folder."""
        folder = check_folder(Path(request.model).expanduser(), self.formats, self.title)
        draft = self._draft(folder, options)
        self._check_options(options)
        self._require()
        from paragone.chat.template import ChatTemplate

        files = read_tokenizer_files(folder, options.chat_template)
        template: ChatTemplate | None = None
        if files.template is not None:
            template = ChatTemplate(files.template, bos=files.bos, eos=files.eos, owner=folder.name)
        prepare_process()
        wanted = Request(folder, draft, options, choose_context(folder, draft, options))
        with failures_told(self.title, wanted):
            self._library = library = self.open(wanted, options, report, cancelled)
            self._vocab = Vocab(library, files)
        report(1.0)
        self._prompts = PromptMaker(
            library.tokenize,
            template,
            bos=self._vocab.bos,
            context=library.capacity,
            option="max_seq_len",
            owner=folder.name,
        )
        fixed = options.chunk_size is not None
        self._pace = Pace(library.largest_chunk, fixed=fixed)
        # Where chunks end decides how numbers are rounded: a cold run is to be the same each time.
        self._cold_pace = Pace(
            library.largest_chunk if fixed else min(FIRST, library.largest_chunk), fixed=True
        )
        return LoadedModel(
            name=folder.name,
            context=library.capacity,
            size=folder.size,
            quantization=folder.stored.name,
            architecture=folder.architecture,
            cautions=tuple(self._cautions(folder, options, template)),
            facts={
                **library.facts,
                "KV cache": options.cache_type,
                "drafts": _drafts(draft, options),
                "prompt slice": f"up to {library.largest_chunk} tokens",
            },
        )

    def generate(
        self, request: RunRequest, sampling: ExLlamaSampling, cancelled: Cancelled
    ) -> Iterator[Event]:
        """Answer a prompt."""
        prompt = self._prompts.make(request.messages, sampling)
        text = AnswerText(sampling.stop, inside=prompt.inside)
        yield from prompt.cautions
        try:
            if request.cold:
                self._library.forget()
            yield from run(
                self._library,
                self._vocab,
                prompt.tokens,
                text,
                cancelled,
                self._cold_pace if request.cold else self._pace,
                sampling=sampling,
                logprobs=request.logprobs,
            )
        except ParagoneError:
            raise
        except Exception as error:
            raise self._repaired(error) from error

    def count(self, messages: Sequence[Message]) -> int:
        """Return the length in tokens of the prompt that these messages make."""
        return len(self._prompts.whole(messages).tokens)

    def score(self, request: ScoreRequest) -> Sequence[Token]:
        """Return the tokens of a text with their log-probabilities."""
        tokens, start = self._prompts.to_score(request.messages, request.text)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        scored: list[Token] = []
        try:
            # What the model says of a token are the logits of the position before it.
            for at, logits in enumerate(self._library.score(tokens[:-1]), start=1):
                if at < start:
                    continue
                logprob, top = log_probability(logits, tokens[at], request.top, self._vocab)
                text = decoder.decode(self._vocab.written(tokens[at]).encode())
                scored.append(
                    Token(text=text, id=tokens[at], logprob=logprob, top=top, time=time.monotonic())
                )
        except Exception as error:
            raise self._repaired(error) from error
        return scored

    def _draft(self, folder: ModelFolder, options: L) -> ModelFolder | None:
        if options.draft_model is None:
            return None
        if options.draft_ngram:
            raise InputError("Of the options 'draft_model' and 'draft_ngram' only one can be given.")
        draft = check_folder(Path(options.draft_model).expanduser(), self.formats, self.title)
        sizes = [one.number("vocab_size") or 0 for one in (folder, draft)]
        if abs(sizes[0] - sizes[1]) > _VOCABULARIES:
            raise InputError(
                f"{draft.name} cannot propose tokens for {folder.name}: its vocabulary is another one "
                f"({sizes[1]:,} tokens and not {sizes[0]:,}).",
                hint="A draft model is a small model of the same family.",
            )
        return draft

    def _check_options(self, options: L) -> None:
        if options.chunk_size is not None and options.chunk_size % 256:
            raise InputError(
                f"The option 'chunk_size' cannot be {options.chunk_size}.", hint="It takes a multiple of 256."
            )
        if (
            options.lora is not None
            and not Path(options.lora).expanduser().joinpath("adapter_config.json").exists()
        ):
            raise InputError(
                f"There is no LoRA adapter in {options.lora}.",
                hint="Name a folder with an adapter_config.json.",
            )

    def _require(self) -> None:
        """Say what is missing, in the words of the probe, before an import fails with its own."""
        found = self.probe()
        if not found.usable:
            raise EngineError(found.reason, hint=found.remedy)
        if cuda := found.facts.get("CUDA of PyTorch"):
            release_lock(extension_folder(self.name, cuda))

    def _cautions(self, folder: ModelFolder, options: L, template: ChatTemplate | None) -> Iterator[Caution]:
        library = self._library
        if template is None:
            sentence = (
                f"{folder.name} has no chat template: the text of the messages is completed as it stands."
            )
            yield Caution(code="no-chat-template", sentence=sentence)
        if library.facts.get("attention") == "unpaged":
            sentence = (
                "Without paged attention (flash-attn), only the latest conversation is kept in the cache."
            )
            yield Caution(code="unpaged", sentence=sentence)
        if library.trained is None:
            return
        if options.max_seq_len is None and library.capacity < library.trained - 256:
            sentence = (
                f"The context is {library.capacity:,} tokens and not the model's {library.trained:,}, "
                "to fit in the VRAM."
            )
            yield Caution(code="context-reduced", sentence=sentence)
        if library.capacity > library.trained and not _rope_changed(options):
            sentence = f"The context is {library.capacity:,} tokens, but the model was trained for {library.trained:,}."
            yield Caution(code="beyond-trained-context", sentence=sentence)

    def _repaired(self, error: Exception) -> EngineError:
        """Have a generator that can be trusted again, or end this process. Returns what to say."""
        traceback.print_exception(error)
        lines = str(error).strip().splitlines()
        said = lines[0][:300].rstrip(".") if lines else "it does not say why"
        full = is_out_of_memory(error)
        if full or not any(sign in str(error) for sign in _BEYOND_REPAIR):
            try:
                self._library.rebuild()
            except Exception:  # noqa: BLE001 (whatever it is, this process is of no use any more)
                traceback.print_exc()
            else:
                if full:
                    return EngineError(
                        "The GPU ran out of memory in the middle of the answer.",
                        hint="Lower chunk_size or max_seq_len, or set cache_type to q8, q6 or q4.",
                    )
                return EngineError(
                    f"{self.title} failed in the middle of the answer: {said}.",
                    hint="It can be asked again.",
                )
        sys.stderr.write(f"{self.title} failed beyond repair: {said}\n")
        sys.stderr.flush()
        os._exit(BROKEN)


class ExLlamaV2Engine(_ExLlamaEngine[ExLlamaV2LoadOptions]):
    """One model in ExLlamaV2."""

    load_options = ExLlamaV2LoadOptions
    name = "exllamav2"
    title = "ExLlamaV2"
    formats = ("EXL2", "GPTQ", "plain")

    def open(
        self, request: Request, options: ExLlamaV2LoadOptions, report: Report, cancelled: Cancelled
    ) -> Library:
        """Import ExLlamaV2 and open the model in it."""
        from paragone_exllama.v2 import V2

        return V2(request, options, report, cancelled)


class ExLlamaV3Engine(_ExLlamaEngine[ExLlamaV3LoadOptions]):
    """One model in ExLlamaV3."""

    load_options = ExLlamaV3LoadOptions
    name = "exllamav3"
    title = "ExLlamaV3"
    formats = ("EXL3", "plain")

    def open(
        self, request: Request, options: ExLlamaV3LoadOptions, report: Report, cancelled: Cancelled
    ) -> Library:
        """Import ExLlamaV3 and open the model in it."""
        from paragone_exllama.v3 import V3

        return V3(request, options, report, cancelled)


def _drafts(draft: ModelFolder | None, options: ExLlamaLoadOptions) -> str:
    if draft is not None:
        return f"{options.draft_tokens} tokens by {draft.name}"
    return f"{options.draft_tokens} tokens by n-grams" if options.draft_ngram else "none"


def _rope_changed(options: ExLlamaLoadOptions) -> bool:
    return isinstance(options, ExLlamaV2LoadOptions) and any(
        (options.rope_scale, options.rope_alpha, options.rope_yarn)
    )
