"""A llama.cpp context with its KV cache, and the vocabulary that converts text to tokens and back."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paragone import Alternative, Cancelled, EngineError, InputError, Vocabulary, fingerprint
from paragone_llama_cpp.c_api import AbortCallback, Batch, Pointer, lib
from paragone_llama_cpp.library import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Vocab:
    def __init__(self, model: Pointer, visible: Iterable[str] = ()) -> None:
        """Wrap the vocabulary of `model`. `visible` are texts, such as thinking tags, whose tokens are decoded as text
        even if they are control tokens of the model."""
        self.pointer = lib.llama_model_get_vocab(model)
        self.size: int = lib.llama_vocab_n_tokens(self.pointer)
        self.bos: int = lib.llama_vocab_bos(self.pointer)
        self.eos: int = lib.llama_vocab_eos(self.pointer)
        """The token that ends a text. Like `bos`, the token that begins a text, -1 if the model has none."""
        self.adds_bos: bool = lib.llama_vocab_get_add_bos(self.pointer)
        self.adds_eos: bool = lib.llama_vocab_get_add_eos(self.pointer)
        self._pieces: dict[int, bytes] = {}
        self.ends = functools.cache(functools.partial(lib.llama_vocab_is_eog, self.pointer))
        self._visible = {
            token
            for text in visible
            for token in self.tokenize(text)
            if lib.llama_vocab_is_control(self.pointer, token)
        }

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Return the tokens of `text`. With `special`, the name of a control token in `text` becomes that token."""
        data = text.encode("utf-8", "surrogatepass")
        room = len(data) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            n = lib.llama_tokenize(self.pointer, data, len(data), tokens, room, False, special)
            if n >= 0:
                return tokens[:n]
            room = -n

    def check(self, tokens: Iterable[int]) -> None:
        """Raise InputError if one of the tokens is not in the vocabulary."""
        wrong = next((token for token in tokens if not 0 <= token < self.size), None)
        if wrong is not None:
            raise InputError(f"There is no token {wrong}: the vocabulary has {self.size:,}.")

    def piece(self, token: int) -> bytes:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self.written(token, special=token in self._visible)
        return piece

    def written(self, token: int, *, special: bool = True) -> bytes:
        """Return the bytes of a token; with `special`, the name of a control token."""
        if token < 0:
            return b""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = lib.llama_token_to_piece(self.pointer, token, buffer, room, 0, special)
            if n >= 0:
                return buffer.raw[:n]
            room = -n

    def log_probability(
        self, logits: NDArray[np.float32], token: int, top: int
    ) -> tuple[float, tuple[Alternative, ...]]:
        """Return the log-probability of `token` and the `top` most likely tokens, most likely first. The probabilities
        are the model's, before any sampler."""
        peak = logits.max()
        norm = float(peak) + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))
        logprob = float(logits[token]) - norm
        if not top:
            return logprob, ()
        top = min(top, len(logits))
        top_ids = np.argpartition(logits, -top)[-top:]
        top_ids = top_ids[np.argsort(-logits[top_ids], kind="stable")]
        return logprob, tuple(
            Alternative(text=self.text(at), id=at, logprob=float(logits[at]) - norm)
            for at in top_ids.tolist()
        )

    def text(self, token: int) -> str:
        """Return the text of a single token, or the name of a control token. Incomplete characters become `�`."""
        return self.written(token).decode("utf-8", "replace")

    @functools.cached_property
    def described(self) -> Vocabulary:
        """The size and the fingerprint, which takes some tenths of a second to compute."""
        pieces = (self.written(token) for token in range(self.size))
        return Vocabulary(size=self.size, fingerprint=fingerprint(pieces))


_ABORTED = 2

# llama.cpp calls its abort callback at every node of the graph, a thousand times per token. A Python
# function would cost milliseconds per token and wait for the GIL. C's strlen has a suitable signature
# (its argument is a pointer, and its result is zero or not) and does not involve Python. strlen returns 0,
# "continue", for the empty string that its argument points to, and 1, "abort", as soon as another
# thread writes a character to that string.
_strlen = ctypes.cast(ctypes.CDLL(None).strlen, AbortCallback)
_none = AbortCallback()


class Context:
    def __init__(self, pointer: Pointer, vocab_size: int) -> None:
        self.pointer = pointer
        self.size: int = lib.llama_n_ctx(pointer)
        self.n_batch: int = lib.llama_n_batch(pointer)
        self.tokens: list[int] = []
        self._vocab_size = vocab_size
        self._row = ctypes.c_float * vocab_size
        self._logits_at: Pointer | None = None
        self._logits: NDArray[np.float32]
        """A view of the row of logits at the address `_logits_at`."""
        self._memory = lib.llama_get_memory(pointer)
        # All computations reuse one batch. Without positions and sequences, llama.cpp continues at the end
        # of its KV cache. Without a list of outputs, llama.cpp returns the logits of the last token.
        self._buffer = (ctypes.c_int32 * self.n_batch)()
        self._outputs = (ctypes.c_int8 * self.n_batch)()
        self._batch = Batch(n_tokens=1, token=self._buffer)
        self._marked = Batch(n_tokens=1, token=self._buffer, logits=self._outputs)

    def warm_up(self, token: int) -> bool:
        """Read every weight once, so that the first prompt is not slower. Returns False if the computation was aborted.
        The computed `token` can be any token."""
        lib.llama_set_warmup(self.pointer, True)
        warm = self.decode(max(token, 0))
        self.trim(0)
        lib.llama_set_warmup(self.pointer, False)
        return warm

    def keep(self, prompt: Sequence[int], *, cold: bool = False) -> int:
        """Trim the cache to the prefix that it shares with `prompt`, and return the length of that prefix. The prefix
        excludes the last token of the prompt, because its logits are needed."""
        shared = 0
        if not cold:
            limit = min(len(self.tokens), len(prompt) - 1)
            while shared < limit and self.tokens[shared] == prompt[shared]:
                shared += 1
        self.trim(shared)
        return len(self.tokens)

    def trim(self, length: int) -> None:
        """Remove all but the first `length` tokens from the cache, or all tokens if the model cannot keep a part."""
        if length == len(self.tokens):
            return
        # Recurrent models keep one state for the whole sequence and cannot remove a part of this state.
        if length == 0 or not lib.llama_memory_seq_rm(self._memory, 0, length, -1):
            lib.llama_memory_clear(self._memory, True)
            length = 0
        del self.tokens[length:]

    def decode(self, token: int) -> bool:
        """Compute one more token. Returns False if the computation was aborted."""
        return self.feed((token,))

    def feed(self, tokens: Sequence[int], *, outputs: int | None = None) -> bool:
        """Compute up to `n_batch` more tokens. Returns False if the computation was aborted. `outputs` is the number of
        tokens, counted from the last, whose logits are kept; 1 by default."""
        batch = self._batch if outputs is None else self._marked
        count = len(tokens)
        self._buffer[:count] = [*tokens]
        if outputs is not None:
            self._outputs[:count] = [*([0] * (count - outputs)), *([1] * outputs)]
        batch.n_tokens = count
        status = lib.llama_decode(self.pointer, batch)
        if status:
            return self._failed(status)
        self.tokens += tokens
        return True

    def logits(self, index: int = -1) -> NDArray[np.float32]:
        """Return the logits of one output of the last computation: a view that the next computation overwrites."""
        # During an answer, the row keeps its address, so that the view is reused. A new view takes 50 µs, 1% of the time of
        # a small model's token: a computation reads all weights, and leaves little of Python's memory in the CPU's caches.
        row = lib.llama_get_logits_ith(self.pointer, index)
        if row != self._logits_at:
            self._logits = np.frombuffer(memoryview(self._row.from_address(row)), np.float32)
            self._logits_at = row
        return self._logits

    def all_logits(self, rows: int) -> NDArray[np.float32]:
        """Return the logits of all outputs of the last computation: a view that the next computation overwrites."""
        values = (self._row * rows).from_address(lib.llama_get_logits(self.pointer))
        return np.frombuffer(memoryview(values).cast("B"), np.float32).reshape(rows, self._vocab_size)

    def hidden_states(self, rows: int) -> NDArray[np.float32]:
        """Return the hidden states after all tokens of the last computation: a view that the next computation
        overwrites. Only a context that was made for embeddings has hidden states."""
        width = lib.llama_model_n_embd_out(lib.llama_get_model(self.pointer))
        values = (ctypes.c_float * (rows * width)).from_address(lib.llama_get_embeddings(self.pointer))
        return np.frombuffer(memoryview(values).cast("B"), np.float32).reshape(rows, width)

    @contextmanager
    def aborted_by(self, cancelled: Cancelled) -> Iterator[None]:
        """Abort computations when the user asks to stop. Has no effect on a GPU."""
        text = ctypes.create_string_buffer(2)

        def ask() -> None:
            text[0] = b"x"

        lib.llama_set_abort_callback(self.pointer, _strlen, ctypes.addressof(text))
        try:
            cancelled.subscribe(ask)
            if cancelled:
                ask()
            yield
        finally:
            lib.llama_set_abort_callback(self.pointer, _none, None)

    def close(self) -> None:
        lib.llama_free(self.pointer)

    def _failed(self, status: int) -> bool:
        # A part of the batch may be in the cache: trim the cache to the tokens before the batch.
        whole = len(self.tokens)
        self.tokens.append(-1)
        self.trim(whole)
        if status == _ABORTED:
            return False
        if status == 1:
            raise EngineError(
                f"The KV cache of llama.cpp was full after {whole:,} tokens.",
                hint="Start the engine again, with a smaller n_batch or a larger n_ctx.",
            )
        raise EngineError(f"llama.cpp could not compute the next tokens (llama_decode returned {status}).")
