"""Move thinking that a server leaves in the answer, between tags, to the thinking channel."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paragone import Caution, Event, Finish, Token
from paragone.chat.text import THINKING_TAGS, AnswerText

_TAG = re.compile("|".join(re.escape(tag) for tags in THINKING_TAGS for tag in tags))
_LONGEST = max(len(tag) for tags in THINKING_TAGS for tag in tags)
_ENDS = {tags.close for tags in THINKING_TAGS}


class InlineThinking:
    """Returns the events of one run with the thinking in its own channel.

    A thinking block is moved only if the answer begins with it and the server does not separate thinking itself.
    If the prompt has opened the thinking block, the answer lacks the opening tag: the thinking stays in the answer, and
    the closing tag causes a caution.
    """

    def __init__(self) -> None:
        self._text: AnswerText | None = AnswerText()
        """Examines the beginning of the answer; None after that."""
        self._watching = True
        """Whether a closing tag without an opening tag may still come."""
        self._recent = ""
        self._answered: list[str] = []
        self._thought = False

    @property
    def answer(self) -> str | None:
        """The text of the answer so far; None if there was also thinking."""
        return None if self._thought else "".join(self._answered)

    def take(self, event: Event) -> Iterator[Event]:
        """Add the next event, and yield the events whose text is final, in order."""
        for final in self._final_events(event):
            if isinstance(final, Token):
                self._answered.append(final.text)
                self._thought = self._thought or final.channel == "thinking"
            yield final

    def _final_events(self, event: Event) -> Iterator[Event]:
        if isinstance(event, Finish):
            yield from self.flush()
        if not isinstance(event, Token):
            yield event
        elif event.channel == "thinking":  # the server itself separates thinking
            yield from self.flush()
            self._watching = False
            yield event
        elif self._text is None:
            yield from self._watched(event)
        else:
            text = self._text
            for token in text.push(event.text, event.id, event.time, event.logprob, event.top):
                yield from self._watched(token)
            if text.settled:
                self._text = None

    def flush(self) -> Iterator[Event]:
        """Yield the events held back, at the end of the run."""
        text, self._text = self._text, None
        if text is not None:
            for token in text.finish():
                yield from self._watched(token)

    def _watched(self, token: Token) -> Iterator[Event]:
        yield token
        if token.channel == "thinking":
            self._watching = False
        if not self._watching:
            return
        recent = self._recent + token.text
        self._recent = recent[-_LONGEST:]
        tag = _TAG.search(recent)
        if tag is None:
            return
        self._watching = False  # later closing tags are part of the answer's content
        if tag[0] in _ENDS:
            sentence = (
                f"The answer has a {tag[0]} without an opening tag: the text before it may be the model's "
                "thinking, which this server does not separate."
            )
            yield Caution(code="thinking-in-answer", sentence=sentence)
