"""The vocabulary of an open model: the bytes of its tokens, which are shown, which end an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paragone import EngineError, Vocabulary, fingerprint
from paragone.chat.text import THINKING_TAGS
from paragone_exllama.library import Library
from paragone_exllama.token_bytes import TokenBytes
from paragone_exllama.tokenizer_files import TokenizerFiles

__all__ = ["Vocab"]


class Vocab:
    """The tokens of one model.

    They are as many as the model computes logits for, which config.json tells. A tokenizer may have
    fewer: the ids that remain stand for no bytes, and are counted as llama.cpp counts them. Columns
    beyond, to which a library pads the model's head, belong to no token.
    """

    def __init__(self, library: Library, files: TokenizerFiles, owner: str) -> None:
        """Read the vocabulary. Errors call the model `owner`."""
        self.size = library.vocab_size
        self.exact = files.tokens is not None
        """Whether the tokens' bytes are known; else they are those of the library's texts, which are close."""
        self._owner = owner
        self._vocabulary: Vocabulary | None = None
        shown = library.pieces(special=False)
        tokens = files.tokens or _from_texts(library.pieces(special=True), shown, files.added)
        self._bytes = [tokens.pieces.get(token, b"") for token in range(self.size)]

        def id_of(text: str) -> int | None:
            token = library.token_id(text)
            return files.added.get(text) if token is None else token

        self.ends = files.ends(id_of)
        """The tokens that end an answer."""
        self.bos = id_of(files.bos) if files.adds_bos else None
        """The token that a text which stands by itself begins with, if any."""
        # Some models count the tags around their thinking among the special tokens, of which the
        # generator tells the numbers but not the text.
        self._visible = {
            token: self.text(token)
            for tags in THINKING_TAGS
            for tag in tags
            for token in library.tokenize(tag)
            if not shown[token]
        }
        self._control = tokens.control - self._visible.keys()

    def written(self, token: int) -> bytes:
        """Return the bytes of a token, of a special one its name; none for an id that no token has."""
        return self._bytes[token] if 0 <= token < self.size else b""

    def piece(self, token: int) -> bytes:
        """Return the bytes that a token stands for in a text; none for a control token."""
        return b"" if token in self._control else self.written(token)

    def text(self, token: int) -> str:
        """Return the text of a token by itself; bytes that are no whole character are replaced."""
        return self.written(token).decode("utf-8", "replace")

    def with_tags(self, text: str, tokens: Sequence[int]) -> str:
        """Return the text of a result with the thinking tags among its tokens put in."""
        # A result ends at the latest where all characters are whole: a tag can only be the last.
        return text + "".join(self._visible.get(token, "") for token in tokens)

    def vocabulary(self) -> Vocabulary:
        """Return the size and the fingerprint. Raises EngineError where the tokens' bytes are unknown."""
        if not self.exact:
            raise EngineError(
                f"The bytes of the tokens of {self._owner} are unknown: its tokenizer.json describes neither "
                "byte-level BPE nor SentencePiece."
            )
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(size=self.size, fingerprint=fingerprint(self._bytes))
        return self._vocabulary


def _from_texts(pieces: Sequence[str], shown: Sequence[str], added: Mapping[str, int]) -> TokenBytes:
    """Return the tokens as the library's texts tell them: `pieces` with special tokens, `shown` without."""
    found = {token: text.encode() for token, text in enumerate(pieces)}
    # ExLlamaV3 knows the texts of those special tokens alone that tokenizer_config.json names.
    found |= {token: text.encode("utf-8", "surrogatepass") for text, token in added.items()}
    return TokenBytes(found, frozenset(token for token, text in enumerate(shown) if not text))
