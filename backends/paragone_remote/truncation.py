"""The truncation alarm: a server that cuts the prompt says 200 OK and answers something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from paragone import Caution, Message

__all__ = ["TruncationAlarm"]

_CHARACTERS = 6
"""Characters of running text that a token stands for at most, on average; it is 4 to 5 in English."""

_RUN = re.compile(r"(\W)\1+|\s+")
"""What tokenizers put into one token however long it is: spaces, dashes, dots."""


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
        if read is None:
            return None
        sent = tuple(messages)
        least = sum(len(_RUN.sub(" ", message.text)) for message in sent) // _CHARACTERS
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
