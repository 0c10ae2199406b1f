"""Detect truncated prompts. A server that cuts the prompt still replies with 200 OK."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from paragone import Caution, Message
from paragone.chat.text import THINKING_TAGS

__all__ = ["TruncationAlarm", "least_tokens"]

_LONGEST = 32
"""Largest number of characters of a token in common tokenizers, except spaces and repeated characters."""

_REPEATED = re.compile(r"(\S)\1{3,}")
"""Repeated characters, such as lines of dashes, can be one token of any length."""

_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u052f"
_WORDS = re.compile(f"[{_LETTERS}]{{2,}}")
"""Words in Latin, Greek and Cyrillic letters. Common tokenizers never put two of them into one token."""

_SIGNS = re.compile(r"[\W_]+")
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
"""Chinese, Japanese and Korean characters, which have no spaces between words.

A token has 1 or 2 of these.
"""


def least_tokens(text: str) -> int:
    """Return a lower bound for the number of tokens of a text with any tokenizer.

    It counts words rather than characters: a token has 3 characters in code but 9 in a contract.
    """
    return sum(
        max(1 + len(piece) // _LONGEST, len(_WORDS.findall(piece)), len(_UNSPACED.findall(piece)) // 4)
        for piece in _REPEATED.sub(r"\1", text).split()
        if not _SIGNS.fullmatch(piece)
    )


@dataclass(slots=True)
class TruncationAlarm:
    """Compares the prompt with the number of prompt tokens that the server reports."""

    where: str
    context: int | None = None
    """Size of the context window in tokens, if known."""
    _last: tuple[Message, ...] = field(default=(), init=False)
    _last_read: int = field(default=0, init=False)

    def check(self, messages: Sequence[Message], read: int | None, written: int | None) -> Caution | None:
        """Return a caution if the `read` tokens cannot be the whole prompt."""
        if not read:  # some servers do not count and report 0
            return None
        sent = tuple(messages)
        least = sum(least_tokens(_shown(message)) for message in sent)
        if self._last and sent[: len(self._last)] == self._last:
            least = max(least, self._last_read)  # the same conversation, continued
        if read < least:
            return self._caution(f"at least {least:,} tokens were sent and it read {read:,}")
        if self.context is not None and read >= self.context:
            return self._caution(f"the tokens that it read fill the whole context of {self.context:,} tokens")
        self._last, self._last_read = sent, read
        # the last token of an answer is not processed and needs no space in the context
        if self.context is not None and read + (written or 0) > self.context + 1:
            sentence = (
                f"{self.where} dropped the beginning of the conversation while it answered: prompt and answer "
                f"are {read + (written or 0):,} tokens, the context holds {self.context:,}."
            )
            return Caution(code="context-shifted", sentence=sentence)
        return None

    def _caution(self, why: str) -> Caution:
        sentence = f"{self.where} cut the prompt: {why}. The answer is based on an incomplete prompt."
        return Caution(code="truncated", sentence=sentence)


def _shown(message: Message) -> str:
    """Return the part of a message that every chat template includes. Many omit thinking in an answer."""
    text = message.text
    for tags in THINKING_TAGS if message.role == "assistant" else ():
        text = text.rpartition(tags.close)[2]
    return text
