"""Runs that continue an answer: the last message of such a request is the assistant's."""

from __future__ import annotations

from paragone import Caution, InputError, Message, RunRequest
from paragone.chat.text import THINKING_TAGS

MAY_NOT_CONTINUE = Caution(
    code="may-not-continue",
    sentence="This server may start a new answer instead of continuing the last one.",
)


def continues_answer(request: RunRequest) -> bool:
    """Whether a request continues an answer."""
    return bool(request.messages) and request.messages[-1].role == "assistant"


def refuse_unfinished_thinking(request: RunRequest, server: str) -> None:
    """Raise InputError if a request continues thinking without an answer, which this server cannot do."""
    if continues_answer(request) and request.messages[-1].thinking and not request.messages[-1].text:
        raise InputError(
            f"{server} cannot continue thinking that has no answer yet.",
            hint="Have the prompt answered again.",
        )


def unfinished_text(answer: Message, before: str = "") -> str:
    """Return the text of an unfinished answer, with its thinking, for a server that continues plain text.

    `before` is the rendered prompt, if known: a chat template can open the thinking at the end.
    """
    opened = next((tags for tags in THINKING_TAGS if before.rstrip().endswith(tags.open)), None)
    if opened is None and not answer.thinking:
        return answer.text
    tags = opened or THINKING_TAGS[0]
    opening = "" if opened is not None else f"{tags.open}\n"
    return f"{opening}{answer.thinking}\n{tags.close}\n\n{answer.text}"
