"""A model's vocabulary: converts text to tokens and back."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from paragone import Alternative, InputError, Vocabulary, fingerprint
from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.c_api.functions import Pointer, lib

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Vocab:
    """The vocabulary of a loaded model."""

    def __init__(self, model: Pointer, visible: Iterable[str] = ()) -> None:
        """Wrap the vocabulary of `model`.

        `visible` are texts, such as thinking tags, whose tokens are decoded as text even if they are
        control tokens of the model.
        """
        self.pointer = lib.llama_model_get_vocab(model)
        self.size: int = lib.llama_vocab_n_tokens(self.pointer)
        self.bos: int = lib.llama_vocab_bos(self.pointer)
        self.marks: tuple[int, int] = (self.bos, lib.llama_vocab_eos(self.pointer))
        """The token that begins a text and the token that ends a text; -1 for a token that the model lacks."""
        self.adds_bos: bool = lib.llama_vocab_get_add_bos(self.pointer)
        self.adds_eos: bool = lib.llama_vocab_get_add_eos(self.pointer)
        self._pieces: dict[int, bytes] = {}
        self.ends = functools.cache(functools.partial(lib.llama_vocab_is_eog, self.pointer))
        """Whether a token ends the answer."""
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
        """Return the bytes of a token; empty for a control token."""
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
        """Return the log-probability of `token` and the `top` likeliest tokens, likeliest first.

        The probabilities are the model's, before any sampler.
        """
        peak = logits.max()
        norm = float(peak) + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))
        logprob = float(logits[token]) - norm
        if not top:
            return logprob, ()
        top = min(top, len(logits))
        likeliest = np.argpartition(logits, -top)[-top:]
        likeliest = likeliest[np.argsort(-logits[likeliest], kind="stable")]
        return logprob, tuple(
            Alternative(text=self.text(at), id=at, logprob=float(logits[at]) - norm)
            for at in likeliest.tolist()
        )

    def text(self, token: int) -> str:
        """Return the text of a single token, or the name of a control token. Incomplete characters become `�`."""
        return self.written(token).decode("utf-8", "replace")

    @functools.cached_property
    def described(self) -> Vocabulary:
        """The size and the fingerprint, which takes some tenths of a second to compute."""
        pieces = (self.written(token) for token in range(self.size))
        return Vocabulary(size=self.size, fingerprint=fingerprint(pieces))
