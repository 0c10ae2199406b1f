"""Turn the bytes of tokens into the text of an answer: whole characters, stop sequences, thinking blocks."""

import codecs
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from paragone import Alternative, Channel, Token


class Tags(NamedTuple):
    """The tags around a model's thinking."""

    open: str
    close: str


THINKING_TAGS = (
    Tags("<think>", "</think>"),  # DeepSeek R1, Qwen 3, SmolLM3 and most others
    Tags("[THINK]", "[/THINK]"),  # Magistral
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    Tags("<seed:think>", "</seed:think>"),  # Seed-OSS
    Tags("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),  # gpt-oss
)

_OPENINGS: Mapping[str, Tags | None] = {
    **{tags.open: tags for tags in THINKING_TAGS},
    "<|channel|>final<|message|>": None,  # a gpt-oss answer without thinking
}
"""Texts at the start of an answer that are not shown, each with the tags of the thinking block that it opens."""

_MOST_SPACE = 100
"""Largest number of white space characters before a text of `_OPENINGS`. More are the text of an answer without thinking."""


@dataclass(slots=True)
class _Held:
    """A token that is held back because the end of its text may be the beginning of a stop sequence or a tag."""

    id: int | None
    logprob: float | None
    top: tuple[Alternative, ...]
    time: float
    channel: Channel
    """The channel in which the token is reported if all of its text is dropped."""
    open: int
    """Number of the token's characters that can still become a stop sequence or a tag."""
    parts: list[tuple[Channel, str]] = field(default_factory=list)

    def add(self, channel: Channel, text: str) -> None:
        if self.parts and self.parts[-1][0] == channel:
            text = self.parts.pop()[1] + text
        self.parts.append((channel, text))

    def tokens(self) -> Iterator[Token]:
        channel, text = self.parts[0] if self.parts else (self.channel, "")
        yield Token(
            text=text, channel=channel, id=self.id, logprob=self.logprob, top=self.top, time=self.time
        )
        for channel, text in self.parts[1:]:  # a token that ends the thinking and begins the answer
            yield Token(text=text, channel=channel, time=self.time)


class AnswerText:
    """Turns the bytes or texts of tokens into Token events."""

    def __init__(self, stops: tuple[str, ...] = (), *, inside: Tags | None = None) -> None:
        """Start an answer. `inside` are the tags of the thinking block that the prompt has opened, if any."""
        self.stopped = False
        """Whether a stop sequence has ended the answer. Later text is dropped."""
        self._stops = tuple(stop for stop in stops if stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tags = inside
        self._begun = inside is not None
        """Whether the text so far shows if the answer begins with a thinking block."""
        self._skip_space = inside is not None
        self._text = ""
        self._held: deque[_Held] = deque()
        self.settled = False
        """Whether the thinking has ended and no stop sequence can end the answer, so that later text needs no processing."""

    @property
    def thinking(self) -> bool:
        """Whether the next token belongs to a thinking block, by the text so far."""
        return self._tags is not None

    @property
    def end_tag(self) -> str:
        """The tag that ends the current thinking block; empty outside thinking blocks."""
        return self._tags.close if self._tags else ""

    @property
    def _channel(self) -> Channel:
        return "thinking" if self._tags else "answer"

    def push(
        self,
        piece: bytes | str,
        token: int | None,
        time: float,
        logprob: float | None = None,
        top: tuple[Alternative, ...] = (),
    ) -> Iterable[Token]:
        """Add the next token. Return the tokens that are no longer held back, in order.

        `piece` is the token's bytes, or its text if the token consists of whole characters. `token` is the
        token's id, if known.
        """
        text = piece if isinstance(piece, str) else self._decoder.decode(piece)
        if self.settled:
            return (Token(text=text, id=token, logprob=logprob, top=top, time=time),)
        self._text += text
        self._held.append(_Held(token, logprob, top, time, self._channel, len(text)))
        self._settle()
        released = list(self._release())
        self.settled = self._begun and not (
            self._text or self._stops or self._tags or self._skip_space or self._held
        )
        return released

    def finish(self) -> Iterator[Token]:
        """Yield the tokens that are held back. Drop the bytes of an incomplete character."""
        if not self.stopped:
            self._take(len(self._text))
        yield from self._release()

    def _settle(self) -> None:
        if not self._begun and not self._begin():
            return
        while True:
            if self._skip_space:
                self._drop(len(self._text) - len(self._text.lstrip()))
                self._skip_space = not self._text
            ends = (self._tags.close,) if self._tags else self._stops
            found = min(((at, -len(end)) for end in ends if (at := self._text.find(end)) >= 0), default=None)
            if found is None:
                self._take(len(self._text) - max((_overlap(self._text, end) for end in ends), default=0))
                return
            self._take(found[0])
            if self._tags is None:
                self.stopped = True
                self._drop(len(self._text))
                return
            self._drop(-found[1])
            self._tags, self._skip_space = None, True

    def _begin(self) -> bool:
        """Find out whether the answer begins with a thinking block. Return False if the text is too short to decide."""
        start = self._text.lstrip()
        for opening, tags in _OPENINGS.items():
            if start.startswith(opening):
                self._drop(len(self._text) - len(start) + len(opening))
                self._tags, self._skip_space = tags, tags is not None
                self._begun = True
        is_open = any(opening.startswith(start) for opening in _OPENINGS)
        self._begun = self._begun or not is_open or len(self._text) - len(start) > _MOST_SPACE
        return self._begun

    def _take(self, count: int) -> None:
        """Take the next characters as text of the current channel."""
        self._settle_next(count, self._channel)

    def _drop(self, count: int) -> None:
        """Drop the next characters."""
        self._settle_next(count, None)

    def _settle_next(self, count: int, channel: Channel | None) -> None:
        text, self._text = self._text[:count], self._text[count:]
        for held in self._held:
            if not text:
                return
            if held.open:
                part, text = text[: held.open], text[held.open :]
                held.open -= len(part)
                if channel is not None:
                    held.add(channel, part)

    def _release(self) -> Iterator[Token]:
        while self._held and not self._held[0].open:
            yield from self._held.popleft().tokens()


def _overlap(text: str, end: str) -> int:
    """Return the length of the longest proper prefix of `end` that is a suffix of `text`."""
    for length in range(min(len(end) - 1, len(text)), 0, -1):
        if text.endswith(end[:length]):
            return length
    return 0
