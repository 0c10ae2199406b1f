"""An open model with its vocabulary: one interface to ExLlamaV2 and ExLlamaV3."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import paragone
from paragone.answer_text import THINKING_TAGS
from paragone_exllama import exllama_options, model_folder

Logits: TypeAlias = Any
"""A tensor with one or more rows, with one number per token of the vocabulary."""

GeneratorJob: TypeAlias = Any
"""A job of the generator. Its list `kept`, unless it is None, has the model's logits for the generated tokens, before any
sampler."""

_FIRST_CHUNK = 512


class ExLlamaModel(ABC):
    """An open model, which one thread uses and which runs one job at a time. Each library has a subclass.

    The number of tokens is the number of logits of the model, from config.json. A tokenizer may have fewer tokens.
    The ids that the tokenizer lacks have no bytes but count as tokens, as in llama.cpp. The columns with which a library pads
    the model's head do not count as tokens.
    """

    capacity: int
    """Largest number of tokens of a prompt and its answer together: the size of the cache."""
    vocab_size: int
    trained: int
    """Size in tokens of the context that the model was trained for."""
    largest_chunk: int
    """Largest number of prompt tokens processed in one batch."""
    drafts: bool
    facts: Mapping[str, str]
    generator: Any
    tokenizer: Any
    page: int = exllama_options.PAGE
    """Number of tokens in a page of the generator's cache."""
    wait: Callable[[], object]
    """Waits until the GPU has finished all queued work."""
    make_generator: Callable[[], Any]

    def __init__(self, files: model_folder.TokenizerFiles, owner: str, chunk_size: int | None) -> None:
        """Read the vocabulary. A subclass opens the model before. `chunk_size` is the load option of this name."""
        self._owner = owner
        self.adapts_chunk = chunk_size is None
        self.first_chunk = min(chunk_size or _FIRST_CHUNK, self.largest_chunk)
        """Number of tokens of the first chunk, and of all chunks of a cold run: rounding depends on the boundaries."""
        self.chunk = self.first_chunk
        """Number of prompt tokens to process next, a multiple of PAGE."""
        pieces = self.tokenizer.get_id_to_piece_list
        shown = list(pieces(False))  # the texts of all tokens, empty for special tokens
        self.exact = files.tokens is not None
        """Whether the tokens' bytes are known; else the library's texts of the tokens approximate their bytes."""
        if files.tokens is not None:
            known, control = files.tokens
        else:
            # ExLlamaV3 knows only the texts of special tokens that tokenizer_config.json names.
            added = {token: text.encode("utf-8", "surrogatepass") for text, token in files.added.items()}
            known = {token: text.encode() for token, text in enumerate(pieces(True))} | added
            control = frozenset(token for token, text in enumerate(shown) if not text)
        self._bytes = [known.get(token, b"") for token in range(self.vocab_size)]

        def id_of(text: str) -> int | None:
            token: int | None = self.tokenizer.single_id(text)
            return files.added.get(text) if token is None else token

        self.ends = files.end_tokens(id_of)
        self.bos = id_of(files.bos) if files.adds_bos else None
        """The BOS token that every prompt and plain text begins with, if any."""
        self.visible = {
            token: self.text(token)
            for tags in THINKING_TAGS
            for tag in tags
            for token in self.tokenize(tag)
            if not shown[token]
        }
        """The thinking tags that are special tokens: the generator returns their ids but not their texts."""
        self._control = control - self.visible.keys()

    @abstractmethod
    def _make_job(
        self, tokens: Sequence[int], sampling: exllama_options.ExLlamaSampling, *, limit: int, ends: list[int]
    ) -> GeneratorJob:
        pass

    @abstractmethod
    def _forward(self, tokens: Sequence[int], chunk: int) -> Generator[Logits, None, None]:
        """Yield the logits after each of these tokens, `chunk` tokens at a time. Begins and ends with an empty cache."""

    def start(
        self, tokens: Sequence[int], sampling: exllama_options.ExLlamaSampling, *, limit: int, logits: bool
    ) -> GeneratorJob:
        """Add a prompt to the generator. The answer ends after `limit` tokens or at a token that ends answers."""
        job = self._make_job(tokens, sampling, limit=limit, ends=sorted(self.ends))
        job.kept = [] if logits else None
        self.generator.enqueue(job)
        return job

    def run_iteration(self) -> list[dict[str, Any]]:
        """Compute the next chunk of the prompt or the next tokens. The generator's `iterate` documents the results."""
        results: list[dict[str, Any]] = self.generator.iterate()
        return results

    def cached_tokens_of(self, job: GeneratorJob) -> int:
        return int(job.cached_pages * self.page + job.cached_tokens)

    def compute_logits(
        self, tokens: Sequence[int], chunk: int, cancelled: paragone.Cancelled
    ) -> Generator[tuple[int, Logits], None, None]:
        """Yield the logits after each of these tokens, one row per token, and the index of the first of these tokens.
        The contents of the cache are lost. `chunk`, the number of tokens at a time, is at most OUTPUTS."""
        if not tokens or cancelled:
            return
        done = 0
        with contextlib.closing(self._forward(tokens, chunk)) as computed:
            for logits in computed:
                yield done, logits
                if cancelled:
                    return
                done += len(logits)

    def forget(self) -> None:
        """Discard the contents of the cache, by default with the generator."""
        self.rebuild()

    def rebuild(self) -> None:
        self.generator = self.make_generator()

    def tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, encode_special_tokens=True)[0].tolist())

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; empty for a control token."""
        return b"" if token in self._control else self._written(token)

    def text(self, token: int) -> str:
        """Return the text of a single token, or the name of a special token. Incomplete characters become `�`."""
        return self.written((token,))

    def written(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, with the names of special tokens. Incomplete characters become `�`."""
        return b"".join(map(self._written, tokens)).decode("utf-8", "replace")

    def log_probability(
        self, logits: Logits, token: int, top: int
    ) -> tuple[float, tuple[paragone.Alternative, ...]]:
        """Return the log-probability of `token` and the `top` most likely tokens, most likely first. The probabilities are
        the model's, before any sampler."""
        row = logits[: self.vocab_size].float().log_softmax(-1)
        logprob = float(row[token].item())
        if not top:
            return logprob, ()
        values, ids = row.topk(min(top, self.vocab_size))
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
        return paragone.Vocabulary(size=self.vocab_size, fingerprint=paragone.fingerprint(self._bytes))

    def _written(self, token: int) -> bytes:
        """Return the bytes of a token, or the name of a special token; empty for an unused id."""
        return self._bytes[token] if 0 <= token < self.vocab_size else b""
