"""Thinking that a server leaves in the answer, between tags: it goes to its own channel."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paragone import Caution, Event, Finish, Token
from paragone.chat.text import THINKING_TAGS, AnswerText

__all__ = ["InlineThinking"]

_TAG = re.compile("|".join(re.escape(tag) for tags in THINKING_TAGS for tag in tags))
_LONGEST = max(len(tag) for tags in THINKING_TAGS for tag in tags)
_ENDS = {tags.close for tags in THINKING_TAGS}


class InlineThinking:
    """Takes the events of one run, and gives them back with the thinking on its channel.

    A block counts where the answer begins with it and the server keeps no thinking apart by itself.
    Where the block was opened by the prompt, nothing tells that the answer begins in it: it was shown
    as the answer by the time that its end comes, and a caution then says so.
    """

    def __init__(self) -> None:
        self._text: AnswerText | None = AnswerText()
        """While the answer's beginning is looked at."""
        self._watching = True
        """Whether an end that nothing opened may still come."""
        self._recent = ""

    def take(self, event: Event) -> Iterator[Event]:
        """Take the next event, and yield those that are settled by now, in order."""
        if isinstance(event, Finish):
            yield from self.flush()
        if not isinstance(event, Token):
            yield event
        elif event.channel == "thinking":  # the server keeps it apart
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
        """Yield what was held back: nothing more comes that could make a tag of it."""
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
        self._watching = False  # after the first one, they are what the answer is about
        if tag[0] in _ENDS:
            sentence = (
                f"The answer has a {tag[0]} that it did not open: what stands before it may be the model's "
                "thinking, which this server does not keep apart."
            )
            yield Caution(code="thinking-in-answer", sentence=sentence)
