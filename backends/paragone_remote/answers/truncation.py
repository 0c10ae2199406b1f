"""Detect truncated prompts. A server that cuts the prompt still replies with 200 OK."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from paragone import Caution, Message
from paragone.chat.text import THINKING_TAGS

_LONGEST = 32
"""Largest number of characters of a token in common tokenizers, except spaces and repeated characters."""

_REPEATED = re.compile(r"(\S)\1{3,}")
"""Repeated characters, such as lines of dashes, can be one token of any length."""

_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u052f"
_WORDS = re.compile(f"[{_LETTERS}]{{2,}}")
"""Words in Latin, Greek and Cyrillic letters. Common tokenizers never put two such words into one token."""

_SIGNS = re.compile(r"[\W_]+")
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
"""Chinese, Japanese and Korean characters, which have no spaces between words.

A token has 1 or 2 of these characters.
"""


def least_tokens(text: str) -> int:
    """Return a lower bound for the number of tokens of a text with any tokenizer.

    The bound counts words rather than characters: a token has 3 characters in code, but 9 in a contract.
    """
    return sum(
        max(1 + len(piece) // _LONGEST, len(_WORDS.findall(piece)), len(_UNSPACED.findall(piece)) // 4)
        for piece in _REPEATED.sub(r"\1", text).split()
        if not _SIGNS.fullmatch(piece)
    )


_DENSE = 4
"""Characters per counted token above which a prompt may have been cut: English has about 4.5, code has 3."""


def is_dense(messages: Sequence[Message], read: int) -> bool:
    """Whether the server read so few tokens for this text that requesting the exact number is worthwhile."""
    return sum(len(message.text) for message in messages) > _DENSE * read


_REMEMBERED = 1000
"""Largest number of answers whose token counts are remembered."""


@dataclass(slots=True)
class TruncationAlarm:
    """Detects a cut prompt from the number of prompt tokens that the server reports.

    The least number of tokens follows from the server's earlier counts: a continued conversation has the tokens of
    its earlier prompts and answers, and at least one token for each new word.
    """

    where: str
    context: int | None = None
    """Size of the context window in tokens, if known."""
    _known: list[tuple[tuple[Message, ...], int]] = field(default_factory=list, init=False)
    """Prompts of the present conversation, each with its least number of tokens. A prompt continues the prompt before it."""
    _answers: dict[str, int] = field(default_factory=dict, init=False)
    """Least number of tokens of each answer, by its text."""

    def check(
        self,
        messages: Sequence[Message],
        read: int | None,
        written: int | None,
        *,
        answer: str | None = None,
        sent_tokens: int | None = None,
    ) -> Caution | None:
        """Return a caution if the `read` tokens cannot be the whole prompt.

        `answer` is the text of the `written` tokens; None if these tokens contain thinking. `sent_tokens` is the exact
        number of tokens of the prompt, if the server reports this number.
        """
        if not read:  # some servers do not count and report 0
            return None
        sent = tuple(messages)
        least = self._least(sent)
        self._learn(sent, max(read, least), written, answer)
        if sent_tokens is not None and read < sent_tokens:
            return self._caution(f"{sent_tokens:,} tokens were sent, and the server read {read:,}")
        if read < least:
            return self._caution(f"at least {least:,} tokens were sent, and the server read {read:,}")
        if self.context is not None and read >= self.context:
            return self._caution(
                f"the tokens that the server read fill the whole context of {self.context:,} tokens"
            )
        # the last token of an answer is not processed and needs no space in the context
        if self.context is not None and read + (written or 0) > self.context + 1:
            sentence = (
                f"{self.where} dropped the beginning of the conversation while it answered: prompt and answer "
                f"are {read + (written or 0):,} tokens, the context holds {self.context:,}."
            )
            return Caution(code="context-shifted", sentence=sentence)
        return None

    def _least(self, sent: tuple[Message, ...]) -> int:
        """Return a lower bound of the number of tokens of a prompt."""
        while self._known and sent[: len(self._known[-1][0])] != self._known[-1][0]:
            self._known.pop()
        before, counted = self._known[-1] if self._known else ((), 0)
        least = [self._least_of(message) for message in sent]
        return max(sum(least), counted + sum(least[len(before) :]))

    def _least_of(self, message: Message) -> int:
        least = least_tokens(_shown(message))
        return max(least, self._answers.get(message.text, 0)) if message.role == "assistant" else least

    def _learn(self, sent: tuple[Message, ...], least: int, written: int | None, answer: str | None) -> None:
        if not sent or sent[-1].role == "assistant":
            return  # nothing to compare, or a continued answer, whose thinking a template may later leave out
        if any(message.images for message in sent):
            return  # a server may leave out earlier images
        if not self._known or self._known[-1][0] != sent:
            self._known.append((sent, least))
        if answer and written and len(self._answers) < _REMEMBERED:
            # A template strips spaces from an answer's ends. Tokenized again, an answer can have fewer tokens: at most
            # 2.5% fewer in answers of SmolLM2 at temperatures up to 10.
            stripped = len(answer) - len(answer.strip())
            self._answers[answer] = max(0, written - stripped) * 3 // 4

    def _caution(self, why: str) -> Caution:
        sentence = f"{self.where} cut the prompt: {why}. The answer is based on an incomplete prompt."
        return Caution(code="truncated", sentence=sentence)


def _shown(message: Message) -> str:
    """Return the part of a message that every chat template includes. Many templates omit the thinking of an answer."""
    text = message.text
    for tags in THINKING_TAGS if message.role == "assistant" else ():
        text = text.rpartition(tags.close)[2]
    return text
