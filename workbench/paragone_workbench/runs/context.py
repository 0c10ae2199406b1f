"""Build the messages of a request from a path of runs, and fit them into the context by the engine's options."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from paragone import Caution, Json, Message, ParagoneError, TokenizeRequest
from paragone.texts import counted
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.failures import report

if TYPE_CHECKING:
    from paragone import OpenEngine
    from paragone_workbench.engines.definitions import ContextOptions
    from paragone_workbench.runs.run import Run


def path_to(run: Run | None) -> tuple[Run, ...]:
    """Return the runs that a run continues, oldest first, followed by the run itself."""
    path: list[Run] = []
    while run is not None:
        path.append(run)
        run = run.continues
    return tuple(reversed(path))


def messages_for(prompt: Prompt, continues: Run | None) -> tuple[Message, ...]:
    """Return the messages of a path and of a prompt, without earlier prompts whose answer has no text."""
    system = prompt.active_system
    messages = [Message(role="system", text=system)] if system else []
    for run in path_to(continues):
        if run.prompt is not None and run.text:
            messages.append(Message(role="user", text=run.prompt.text, images=run.prompt.images))
            messages.append(Message(role="assistant", text=run.text, thinking=run.thinking))
    messages.append(Message(role="user", text=prompt.text, images=prompt.images))
    return tuple(messages)


def request_of(run: Run) -> tuple[Message, ...]:
    """Return the messages of a run's request, with the start of the answer if the request gave one; empty for a run
    without a prompt."""
    if run.prompt is None:
        return ()
    messages, given = messages_for(run.prompt, run.continues), run.result.prefilled
    if given is None:
        return messages
    text, thinking = run.text[: given.text], run.thinking[: given.thinking]
    return (*messages, Message(role="assistant", text=text, thinking=thinking))


Count: TypeAlias = Callable[[Sequence[Message]], Awaitable[int | None]]
"""Returns the number of tokens of the prompt for messages; None if the engine cannot count tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    messages: tuple[Message, ...]
    left_out: int = 0
    """Number of the oldest messages that were dropped. System messages are always kept and never counted."""
    tokens: int | None = None
    """Number of tokens of the prompt; None if the tokens were not counted."""

    def cautions(self, context: int | None) -> tuple[Caution, ...]:
        """Return a warning if messages were dropped. `context` is the size of the context in tokens."""
        if not self.left_out:
            return ()
        size = "" if context is None else f" of {counted(context, 'token')}"
        message = f"The prompt is without {oldest(self.left_out)}, because the conversation is longer than the context{size}."
        return (Caution(code="turns-dropped", sentence=message),)


def oldest(count: int) -> str:
    """Return the phrase for this number of messages, such as `the oldest 2 messages`."""
    return "the oldest message" if count == 1 else f"the oldest {count:,} messages"


async def fitted_to(
    engine: OpenEngine, messages: Sequence[Message], options: ContextOptions, sampling: Mapping[str, Json]
) -> Fitted:
    """Fit messages into the context of an open engine. Keep all messages if tokens or context are unknown."""
    context, wanted = engine.loaded.context, sampling.get("max_tokens")

    async def count(some: Sequence[Message]) -> int | None:
        request = TokenizeRequest(messages=tuple(some), sampling=sampling, count_only=True)
        try:
            return (await engine.tokenize(request)).length
        except Exception as error:  # noqa: BLE001 (a plugin's error; if the engine has ended, its run reports that)
            if not isinstance(error, ParagoneError):
                report("A backend failed to count tokens.", error)
            return None

    if context is None:
        return Fitted(messages=tuple(messages))
    return await fit(messages, options, context, wanted if isinstance(wanted, int) else None, count)


async def fit(
    messages: Sequence[Message], options: ContextOptions, context: int, max_tokens: int | None, count: Count
) -> Fitted:
    """Drop the oldest questions and their answers until the prompt and the answer fit in the context. The answer
    needs `max_tokens`, but at most a quarter of the context. The last question is always kept."""
    tokens = await count(messages)
    quarter = context // 4
    limit = context - min(max_tokens or quarter, quarter)
    whole = Fitted(messages=tuple(messages), tokens=tokens)
    questions = [at for at, message in enumerate(messages) if message.role == "user"]
    if options.overflow == "error" or tokens is None or tokens <= limit or len(questions) < 2:
        return whole
    if options.overflow == "keep_last":
        first = max(0, len(questions) - 1 - options.keep_turns)
    else:
        # Binary search: a long conversation has hundreds of questions, and each count renders and tokenizes all messages.
        first, last = 1, len(questions) - 1
        while first < last:
            middle = (first + last) // 2
            tokens = await count(_without_before(messages, questions[middle]).messages)
            if tokens is None or tokens <= limit:
                last = middle
            else:
                first = middle + 1
    fitted = _without_before(messages, questions[first])
    return replace(fitted, tokens=await count(fitted.messages))


def without_oldest(messages: Sequence[Message], left_out: int) -> Fitted:
    """Drop as many of the oldest messages as a recorded run did. System messages are always kept and never counted."""
    places = [at for at, message in enumerate(messages) if message.role != "system"]
    return _without_before(messages, places[left_out] if left_out < len(places) else 0)


def _without_before(messages: Sequence[Message], start: int) -> Fitted:
    system = [message for message in messages[:start] if message.role == "system"]
    return Fitted(messages=(*system, *messages[start:]), left_out=start - len(system))
