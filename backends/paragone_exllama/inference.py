"""Runs of an open model: events of a run, log-probabilities of a text, and the vocabulary."""

from __future__ import annotations

import codecs
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import paragone
from paragone.answer_text import THINKING_TAGS, AnswerText
from paragone_exllama.exllama_options import OUTPUTS, PAGE, ExLlamaSampling
from paragone_exllama.model_folder import TokenBytes, TokenizerFiles

Logits: TypeAlias = Any
"""A tensor with one or more rows, with one number per token of the vocabulary."""

Chunks: TypeAlias = Generator[Logits, None, None]
"""A generator that yields the logits of several positions at a time."""


class GeneratorJob(Protocol):
    cached_pages: int
    cached_tokens: int
    accepted_draft_tokens: int
    rejected_draft_tokens: int
    kept: list[Logits] | None
    """The model's logits for the generated tokens, before any sampler; None if no logits were requested."""


class Library(ABC):
    """An open model, which one thread uses and which runs one job at a time."""

    capacity: int
    """Most tokens that a prompt and its answer may have together: the size of the cache."""
    vocab_size: int
    """Number of tokens of the vocabulary; the model's head may be padded to more."""
    trained: int | None
    largest_chunk: int
    """Largest number of prompt tokens processed at once."""
    drafts: bool
    facts: Mapping[str, str]
    generator: Any
    tokenizer: Any
    page: int = PAGE
    """Number of tokens in a page of the generator's cache."""
    wait: Callable[[], object]
    """Waits until the GPU has finished all queued work."""
    make_generator: Callable[[], Any]

    @abstractmethod
    def _make_job(
        self, tokens: Sequence[int], sampling: ExLlamaSampling, *, limit: int, ends: list[int]
    ) -> GeneratorJob:
        pass

    def start(
        self,
        tokens: Sequence[int],
        sampling: ExLlamaSampling,
        *,
        limit: int,
        ends: Collection[int],
        logits: bool,
    ) -> GeneratorJob:
        """Add a prompt to the generator. The answer ends after `limit` tokens or at one of the tokens `ends`."""
        job = self._make_job(tokens, sampling, limit=limit, ends=sorted(ends))
        job.kept = [] if logits else None
        self.generator.enqueue(job)
        return job

    def iterate(self) -> list[dict[str, Any]]:
        """Compute the next chunk of the prompt or the next tokens. The generator's `iterate` documents the results."""
        results: list[dict[str, Any]] = self.generator.iterate()
        return results

    def cached(self, job: GeneratorJob) -> int:
        return job.cached_pages * self.page + job.cached_tokens

    @abstractmethod
    def forward(self, tokens: Sequence[int], chunk: int) -> Chunks:
        """Yield the logits after each of these tokens, one row per token, `chunk` tokens at a time.

        The computation begins with an empty cache: the contents of the cache are lost. `chunk` is at most OUTPUTS.
        """

    def tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, encode_special_tokens=True)[0].tolist())

    def forget(self) -> None:
        """Discard the contents of the cache, by default with the generator."""
        self.rebuild()

    def rebuild(self) -> None:
        self.generator = self.make_generator()


class ExllamaVocab:
    """The tokens of one model.

    The number of tokens is the number of logits of the model, from config.json. A tokenizer may have fewer tokens.
    The ids that the tokenizer lacks have no bytes but count as tokens, as in llama.cpp. The columns with which a library pads
    the model's head do not count as tokens.
    """

    def __init__(self, library: Library, files: TokenizerFiles, owner: str) -> None:
        self.size = library.vocab_size
        self.exact = files.tokens is not None
        """Whether the tokens' bytes are known.

        If the bytes are unknown, the library's texts of the tokens, encoded as UTF-8, approximate the bytes.
        """
        self._owner = owner
        pieces = library.tokenizer.get_id_to_piece_list
        shown = list(pieces(False))  # the texts of all tokens, empty for special tokens
        tokens = files.tokens
        if tokens is None:
            texts = {token: text.encode() for token, text in enumerate(pieces(True))}
            # ExLlamaV3 knows only the texts of special tokens that tokenizer_config.json names.
            texts |= {token: text.encode("utf-8", "surrogatepass") for text, token in files.added.items()}
            tokens = TokenBytes(texts, frozenset(token for token, text in enumerate(shown) if not text))
        self._bytes = [tokens.pieces.get(token, b"") for token in range(self.size)]

        def id_of(text: str) -> int | None:
            token: int | None = library.tokenizer.single_id(text)
            return files.added.get(text) if token is None else token

        self.ends = files.ends(id_of)
        self.bos = id_of(files.bos) if files.adds_bos else None
        """The BOS token that every prompt and plain text begins with, if any."""
        self.visible = {
            token: self.text(token)
            for tags in THINKING_TAGS
            for tag in tags
            for token in library.tokenize(tag)
            if not shown[token]
        }
        """The thinking tags that are special tokens, of which the generator returns the ids but not the texts."""
        self._control = tokens.control - self.visible.keys()

    def written(self, token: int) -> bytes:
        """Return the bytes of a token, or the name of a special token; empty for an unused id."""
        return self._bytes[token] if 0 <= token < self.size else b""

    def piece(self, token: int) -> bytes:
        return b"" if token in self._control else self.written(token)

    def text(self, token: int) -> str:
        """Return the text of a single token. Incomplete characters are replaced by `�`."""
        return self.written(token).decode("utf-8", "replace")

    def log_probability(
        self, logits: Logits, token: int, top: int
    ) -> tuple[float, tuple[paragone.Alternative, ...]]:
        """Return the log-probability of `token` and the `top` likeliest tokens, likeliest first.

        The probabilities are the model's, before any sampler.
        """
        # The head may be padded to more columns than the vocabulary has tokens.
        row = logits[: self.size].float().log_softmax(-1)
        logprob = float(row[token].item())
        if not top:
            return logprob, ()
        values, ids = row.topk(min(top, self.size))
        return logprob, tuple(
            paragone.Alternative(text=self.text(index), id=index, logprob=value)
            for value, index in zip(values.tolist(), ids.tolist(), strict=True)
        )

    @cached_property
    def vocabulary(self) -> paragone.Vocabulary:
        """The size and the fingerprint of the vocabulary. Raises EngineError if the tokens' bytes are unknown."""
        if not self.exact:
            raise paragone.EngineError(
                f"The bytes of the tokens of {self._owner} are unknown: its tokenizer.json describes neither "
                "byte-level BPE nor SentencePiece."
            )
        return paragone.Vocabulary(size=self.size, fingerprint=paragone.fingerprint(self._bytes))


_SECONDS = 0.06
"""Largest duration of a chunk in seconds. A stop request at the start of a chunk takes effect within 100 ms."""

FIRST = 512
"""Number of tokens of the first chunk."""

_REASONS: Mapping[str, paragone.FinishReason] = {"stop_token": "stop", "max_new_tokens": "length"}
"""The generator's reasons to end an answer, and their names in a Finish.

AnswerText finds the stop sequences, because the generator would also end the answer at a stop sequence in the thinking.
"""


class ChunkSize:
    """The number of prompt tokens to process at once: small enough to stop in time, large enough to be fast.

    The speed of earlier chunks determines this number.
    """

    def __init__(self, largest: int, *, fixed: bool) -> None:
        """Set the largest size. With `fixed`, every chunk has the largest size."""
        self._largest = largest
        self._fixed = fixed
        self.chunk = largest if fixed else min(FIRST, largest)
        """Number of tokens of the next chunk, a multiple of PAGE."""

    def learn(self, tokens: int, seconds: float) -> None:
        """Adapt the size of the next chunk to the time that a chunk of `tokens` tokens took."""
        if self._fixed or tokens < PAGE or seconds <= 0:
            return
        fitting = int(tokens / seconds * _SECONDS)
        # The size at most doubles, because the first chunk after a pause is not typical.
        fitting = min(fitting, 2 * self.chunk, self._largest)
        self.chunk = max(fitting // PAGE * PAGE, PAGE)


def run(
    library: Library,
    vocab: ExllamaVocab,
    tokens: list[int],
    text: AnswerText,
    cancelled: paragone.Cancelled,
    chunk_size: ChunkSize,
    *,
    sampling: ExLlamaSampling,
    logprobs: int | None,
) -> Iterator[paragone.Event]:
    room = library.capacity - len(tokens)
    limit = min(sampling.max_tokens or room, room)
    answer = _Answer(vocab, text, logprobs)
    started = time.monotonic()
    reason: paragone.FinishReason | None = None
    done = 0
    job = library.start(tokens, sampling, limit=limit, ends=vocab.ends, logits=logprobs is not None)
    try:
        yield paragone.PromptProgress(done=0, total=len(tokens), time=started)
        while reason is None:
            if cancelled:
                reason = "cancelled"
                break
            if not answer.first:
                library.generator.max_chunk_size = chunk_size.chunk
            before = time.monotonic()
            for result in library.iterate():
                if result["stage"] == "prefill":
                    library.wait()  # the library queues work much faster than the GPU computes
                    now = time.monotonic()
                    cached = library.cached(job)
                    chunk_size.learn(result["curr_progress"] - max(done, cached), now - before)
                    done = result["curr_progress"]
                    yield paragone.PromptProgress(done=done, total=len(tokens), cached=cached, time=now)
                elif result["stage"] == "error":
                    raise result["error"]
                elif result["stage"] == "streaming":
                    if not answer.first:
                        yield paragone.PromptProgress(
                            done=len(tokens),
                            total=len(tokens),
                            cached=library.cached(job),
                            time=time.monotonic(),
                        )
                    yield from answer.take(job, result)
                    if text.stopped:
                        reason = "stop"
                    elif result["eos"]:
                        reason = _REASONS[result["eos_reason"]]
                    if reason is not None:
                        break
        yield from text.finish()
    finally:
        library.generator.cancel(job)

    if reason == "length" and limit != sampling.max_tokens:
        sentence = f"The answer ends here because the context of {library.capacity:,} tokens is full."
        yield paragone.Caution(code="context-full", sentence=sentence)
    accepted = job.accepted_draft_tokens if library.drafts else None
    yield paragone.Finish(
        reason=reason,
        usage=paragone.Usage(
            prompt_tokens=len(tokens),
            cached_tokens=library.cached(job),
            completion_tokens=answer.count,
            drafted_tokens=None if accepted is None else accepted + job.rejected_draft_tokens,
            accepted_tokens=accepted,
        ),
        timings=paragone.Timings(
            prefill_s=answer.first - started if answer.first else None,
            decode_s=answer.last - answer.first if answer.first else None,
        ),
        time=time.monotonic(),
    )


class _Answer:
    def __init__(self, vocab: ExllamaVocab, text: AnswerText, logprobs: int | None) -> None:
        self._vocab = vocab
        self._text = text
        self._logprobs = logprobs
        self.count = 0
        self.first = 0.0
        self.last = 0.0

    def take(self, job: Any, result: Mapping[str, Any]) -> Iterator[paragone.Token]:
        """Add one result of the generator, and yield the tokens whose text is final."""
        now = time.monotonic()
        tokens = _tokens(result)
        text = str(result.get("text", ""))
        if not tokens and result["eos"]:
            # At the end of the answer, the generator holds back the tokens of an incomplete character.
            tokens, text = _tokens(result.get("held", {})), ""
        if result["eos"] and result["eos_reason"] == "stop_token":
            tokens = tokens[:-1]
        elif result["eos"]:
            text = text.rstrip("\ufffd")  # a character cut by the token limit
        if not tokens:
            return
        self.first, self.last = self.first or now, now
        # A result ends as soon as its characters are complete, so only its last token can be a thinking tag.
        text += "".join(self._vocab.visible.get(token, "") for token in tokens)
        for at, token in enumerate(tokens):
            self.count += 1
            logprob: float | None = None
            top: tuple[paragone.Alternative, ...] = ()
            if self._logprobs is not None:
                logprob, top = self._vocab.log_probability(job.kept.pop(0), token, self._logprobs)
            # If a character consists of several tokens, the last of these tokens gets the text.
            piece = text.encode() if at == len(tokens) - 1 else b""
            yield from self._text.push(piece, token, now, logprob, top)
            if self._text.stopped:
                return


def _tokens(result: Mapping[str, Any]) -> list[int]:
    tokens = result.get("token_ids")
    return [] if tokens is None else list(tokens[0].tolist())


_ROWS = 32
"""Number of rows of logits converted to 32-bit floats at once: 32 MiB for a vocabulary of 262,144 tokens."""


def score(
    library: Library,
    vocab: ExllamaVocab,
    tokens: Sequence[int],
    start: int,
    cancelled: paragone.Cancelled,
    *,
    top: int,
) -> Iterator[paragone.Event]:
    """Yield the tokens from `start` on, each with its log-probability given the previous tokens, then a Finish."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    total = max(len(tokens) - 1, 0)  # no token follows the last token, so the logits after it are not needed
    done = 0
    reason: paragone.FinishReason = "stop"
    started = time.monotonic()
    yield paragone.PromptProgress(done=0, total=total, time=started)
    with contextlib.closing(_chunks(library, tokens[:total], OUTPUTS, cancelled)) as chunks:
        for logits in chunks:
            count = len(logits)
            yield paragone.PromptProgress(done=done + count, total=total, time=time.monotonic())
            # A token's probability follows from the logits at the position before the token.
            for row in range(max(start - 1 - done, 0), count):
                if cancelled:
                    break
                token = tokens[done + row + 1]
                logprob, likeliest = vocab.log_probability(logits[row], token, top)
                piece = vocab.piece(token)
                yield paragone.Token(
                    text=decoder.decode(piece),
                    id=token,
                    logprob=logprob,
                    top=likeliest,
                    n_bytes=len(piece) if vocab.exact else None,
                    time=time.monotonic(),
                )
            done += count
    if cancelled:
        reason = "cancelled"
    now = time.monotonic()
    yield paragone.Finish(
        reason=reason,
        usage=paragone.Usage(prompt_tokens=min(start, len(tokens)), cached_tokens=0),
        timings=paragone.Timings(prefill_s=now - started),
        time=now,
    )


def distributions(
    library: Library,
    vocab: ExllamaVocab,
    request: paragone.DistributionsRequest,
    cancelled: paragone.Cancelled,
) -> Iterator[paragone.LogitsBlock]:
    """Yield the logits after each token from `request.start` on, with one column per token of the vocabulary.

    The columns with which a library pads the model's head are removed.
    """
    done = 0
    chunk = min(request.batch or OUTPUTS, OUTPUTS)
    with contextlib.closing(_chunks(library, request.ids, chunk, cancelled)) as chunks:
        for logits in chunks:
            count = len(logits)
            for row in range(max(request.start - done, 0), count, _ROWS):
                if cancelled:
                    return
                # Convert the rows to 32-bit floats in CPU memory.
                rows = logits[row : row + _ROWS, : vocab.size].float().cpu().contiguous()
                yield paragone.LogitsBlock(
                    start=done + row, rows=len(rows), vocab_size=vocab.size, data=memoryview(rows.numpy())
                )
            done += count


def _chunks(library: Library, tokens: Sequence[int], chunk: int, cancelled: paragone.Cancelled) -> Chunks:
    if not tokens or cancelled:
        return
    with contextlib.closing(library.forward(tokens, chunk)) as computed:
        for logits in computed:
            yield logits
            if cancelled:
                return
