"""The truncation alarm: a server that cuts the prompt says 200 OK and answers something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from paragone import Caution, Message
from paragone.chat.text import THINKING_TAGS

__all__ = ["TruncationAlarm", "least_tokens"]

_LONGEST = 32
"""Characters that a token stands for at most; common tokenizers have none longer but of spaces and repeated signs."""

_REPEATED = re.compile(r"(\S)\1{3,}")
"""What may be one token however long it is: rules, dots, aaaa."""

_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u052f"
_WORDS = re.compile(f"[{_LETTERS}]{{2,}}")
"""Words in Latin, Greek and Cyrillic letters; common tokenizers put no two into one token, whatever parts them."""

_SIGNS = re.compile(r"[\W_]+")
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
"""Chinese, Japanese and Korean, whose words do not tell how many tokens there are; a token is 1 to 2 of these."""


def least_tokens(text: str) -> int:
    """Return how many tokens a text has at the least, whichever the tokenizer.

    Words are counted, not characters: of these a token has 3 in code and 9 in a contract.
    """
    return sum(
        max(1 + len(piece) // _LONGEST, len(_WORDS.findall(piece)), len(_UNSPACED.findall(piece)) // 4)
        for piece in _REPEATED.sub(r"\1", text).split()
        if not _SIGNS.fullmatch(piece)
    )


@dataclass(slots=True)
class TruncationAlarm:
    """Compares what was sent with the prompt tokens that the server says it read."""

    where: str
    context: int | None = None
    """Size of the context window, where it is known."""
    _last: tuple[Message, ...] = field(default=(), init=False)
    _last_read: int = field(default=0, init=False)

    def check(self, messages: Sequence[Message], read: int | None, written: int | None) -> Caution | None:
        """Return a caution where the `read` tokens cannot be all that was sent."""
        if not read:  # some count nothing, and say 0
            return None
        sent = tuple(messages)
        least = sum(least_tokens(_shown(message)) for message in sent)
        if self._last and sent[: len(self._last)] == self._last:
            least = max(least, self._last_read)  # the same conversation, gone on
        if read < least:
            return self._caution(f"at least {least:,} tokens were sent and it read {read:,}")
        if self.context is not None and read >= self.context:
            return self._caution(f"what it read fills the context of {self.context:,} tokens to the brim")
        self._last, self._last_read = sent, read
        # the last token of an answer is not read again, and needs no place
        if self.context is not None and read + (written or 0) > self.context + 1:
            sentence = (
                f"{self.where} dropped the beginning of the conversation while it answered: prompt and answer "
                f"are {read + (written or 0):,} tokens, the context holds {self.context:,}."
            )
            return Caution(code="context-shifted", sentence=sentence)
        return None

    def _caution(self, why: str) -> Caution:
        sentence = f"{self.where} cut the prompt: {why}. The answer is to something else than was asked."
        return Caution(code="truncated", sentence=sentence)


def _shown(message: Message) -> str:
    """Return what a chat template shows of a message: many leave out thinking that stands in an answer."""
    text = message.text
    for tags in THINKING_TAGS if message.role == "assistant" else ():
        text = text.rpartition(tags.close)[2]
    return text
