"""The vocabulary of an open model: the bytes of its tokens, control tokens, and tokens that end an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from paragone import Alternative, EngineError, Vocabulary, fingerprint
from paragone.chat.text import THINKING_TAGS
from paragone_exllama.library import Library, Logits
from paragone_exllama.model_folder.token_bytes import TokenBytes
from paragone_exllama.model_folder.tokenizer_files import TokenizerFiles


class ExllamaVocab:
    """The tokens of one model.

    The number of tokens is the number of logits of the model, from config.json. A tokenizer may have fewer tokens.
    The ids that the tokenizer lacks have no bytes but count as tokens, as in llama.cpp. The columns with which a library pads
    the model's head do not count as tokens.
    """

    def __init__(self, library: Library, files: TokenizerFiles, owner: str) -> None:
        """Read the vocabulary. `owner` is the name of the model in error messages."""
        self.size = library.vocab_size
        self.exact = files.tokens is not None
        """Whether the tokens' bytes are known.

        If the bytes are unknown, the library's texts of the tokens, encoded as UTF-8, approximate the bytes.
        """
        self._owner = owner
        shown = library.pieces(special=False)
        tokens = files.tokens or _from_texts(library.pieces(special=True), shown, files.added)
        self._bytes = [tokens.pieces.get(token, b"") for token in range(self.size)]

        def id_of(text: str) -> int | None:
            token = library.token_id(text)
            return files.added.get(text) if token is None else token

        self.ends = files.ends(id_of)
        """The tokens that end an answer."""
        self.bos = id_of(files.bos) if files.adds_bos else None
        """The BOS token that every prompt and plain text begins with, if any."""
        # In some models the thinking tags are special tokens, of which the generator returns the ids but not
        # the texts.
        self._visible = {
            token: self.text(token)
            for tags in THINKING_TAGS
            for tag in tags
            for token in library.tokenize(tag)
            if not shown[token]
        }
        self._control = tokens.control - self._visible.keys()

    def written(self, token: int) -> bytes:
        """Return the bytes of a token, or the name of a special token; empty for an unused id."""
        return self._bytes[token] if 0 <= token < self.size else b""

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; empty for a control token."""
        return b"" if token in self._control else self.written(token)

    def text(self, token: int) -> str:
        """Return the text of a single token. Incomplete characters are replaced by `�`."""
        return self.written(token).decode("utf-8", "replace")

    def with_tags(self, text: str, tokens: Sequence[int]) -> str:
        """Return a result's text with the thinking tags at its end, which the generator leaves out."""
        # A result ends as soon as its characters are complete, so only its last token can be a tag.
        return text + "".join(self._visible.get(token, "") for token in tokens)

    def log_probability(self, logits: Logits, token: int, top: int) -> tuple[float, tuple[Alternative, ...]]:
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
            Alternative(text=self.text(index), id=index, logprob=value)
            for value, index in zip(values.tolist(), ids.tolist(), strict=True)
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The size and the fingerprint of the vocabulary. Raises EngineError if the tokens' bytes are unknown."""
        if not self.exact:
            raise EngineError(
                f"The bytes of the tokens of {self._owner} are unknown: its tokenizer.json describes neither "
                "byte-level BPE nor SentencePiece."
            )
        return Vocabulary(size=self.size, fingerprint=fingerprint(self._bytes))


def _from_texts(pieces: Sequence[str], shown: Sequence[str], added: Mapping[str, int]) -> TokenBytes:
    """Approximate the bytes of the tokens by the library's texts.

    `pieces` include the texts of special tokens; in `shown`, these texts are empty.
    """
    found = {token: text.encode() for token, text in enumerate(pieces)}
    # ExLlamaV3 knows only the texts of special tokens that tokenizer_config.json names.
    found |= {token: text.encode("utf-8", "surrogatepass") for text, token in added.items()}
    return TokenBytes(found, frozenset(token for token, text in enumerate(shown) if not text))
