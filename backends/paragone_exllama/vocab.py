"""The vocabulary of an open model: which tokens are shown, how they are written, which end an answer."""

from __future__ import annotations

from collections.abc import Sequence

from paragone.chat.text import THINKING_TAGS
from paragone_exllama.library import Library
from paragone_exllama.tokenizer_files import TokenizerFiles

__all__ = ["Vocab"]


class Vocab:
    """The tokens of one model."""

    def __init__(self, library: Library, files: TokenizerFiles) -> None:
        self._written = list(library.pieces(special=True))
        self.size = len(self._written)
        # ExLlamaV3 knows the texts of those special tokens alone that tokenizer_config.json names.
        for text, token in files.added.items():
            if token < self.size and not self._written[token]:
                self._written[token] = text

        def id_of(text: str) -> int | None:
            token = library.token_id(text)
            return files.added.get(text) if token is None else token

        self.ends = files.ends(id_of)
        """The tokens that end an answer."""
        self.bos = id_of(files.bos) if files.adds_bos else None
        """The token that a text which stands by itself begins with, if any."""
        shown = library.pieces(special=False)
        # Some models count the tags around their thinking among the special tokens, of which the
        # generator tells the numbers but not the text.
        self._visible = {
            token: self._written[token]
            for tags in THINKING_TAGS
            for tag in tags
            for token in library.tokenize(tag)
            if not shown[token]
        }

    def written(self, token: int) -> str:
        """Return the text of a token, special or not; nothing for one that is beyond the vocabulary."""
        return self._written[token] if token < self.size else ""

    def with_tags(self, text: str, tokens: Sequence[int]) -> str:
        """Return the text of a result with the thinking tags among its tokens put in."""
        # A result ends at the latest where all characters are whole: a tag can only be the last.
        return text + "".join(self._visible.get(token, "") for token in tokens)
