"""The log-probabilities of a text that the client gave."""

from __future__ import annotations

import contextlib
import dataclasses
import time

from paragone import (
    ContextOverflow,
    EngineError,
    Finish,
    InputError,
    OpenEngine,
    ScoreRequest,
    Token,
    TokenizeRequest,
)
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.serving.direct_use import used
from paragone_workbench.serving.protocol.given import Given


async def scored(
    pool: EnginePool, handle: EngineHandle, given: Given, top: int, *, answer_follows: bool
) -> tuple[Token, ...]:
    """Return the given text as tokens, with log-probabilities and `top` alternatives, once the engine is free.

    The first token has no log-probability, unless the model puts a token before every text. If `answer_follows`,
    check first that the context has room for an answer. Raises ParagoneError.
    """
    if not isinstance(given, str) and not handle.capabilities.token_ids:
        raise InputError(f"{handle.definition.name} takes no token ids.", hint="Send the prompt as a text.")
    if not handle.capabilities.score:
        wanted = "log-probabilities of a given text" if isinstance(given, str) else "text of token ids"
        raise InputError(
            f"{handle.definition.name} does not report the {wanted}.",
            hint="Leave out echo or logprobs, or ask an engine that computes on this machine.",
        )
    async with used(pool, handle) as engine:
        if answer_follows:
            await _check_room(engine, given)
        if not isinstance(given, str):
            return tuple(await _tokens(engine, ScoreRequest(ids=given, top=top)))
        return _with_beginning(given, await _tokens(engine, ScoreRequest(text=given, top=top)))


async def _check_room(engine: OpenEngine, given: Given) -> None:
    """Raise ContextOverflow if the given text leaves no room for a token in the context."""
    context, count = engine.loaded.context, len(given)
    if isinstance(given, str):
        count = (await engine.tokenize(TokenizeRequest(text=given, count_only=True))).length
    if context is not None and count >= context:
        raise ContextOverflow(
            f"The prompt is {count:,} tokens long and the context holds {context:,}: that leaves no room for an answer.",
            hint="Shorten it, or ask for its log-probabilities alone, with max_tokens 0.",
            tokens=count,
            context=context,
        )


async def _tokens(engine: OpenEngine, request: ScoreRequest) -> list[Token]:
    """Return the scored tokens. A text's first token is missing, unless the model puts a token before every text."""
    found: list[Token] = []
    async with contextlib.aclosing(engine.score(request)) as events:
        async for event in events:
            if isinstance(event, Token):
                found.append(event)
            elif isinstance(event, Finish) and event.reason == "cancelled":
                raise EngineError("The computation was stopped.")
    return found


def _with_beginning(text: str, tokens: list[Token]) -> tuple[Token, ...]:
    """Return the tokens of the whole text: a token for the text before the scored tokens, and the scored tokens."""
    data = text.encode("utf-8", "replace")
    missing = len(data) - sum(token.n_bytes or 0 for token in tokens)
    if missing <= 0:  # the scored tokens cover the whole text; some tokenizers add a space before it
        return tuple(tokens)
    first = Token(text=data[:missing].decode("utf-8", "ignore"), time=time.monotonic())
    return (first, *(dataclasses.replace(token, channel="answer") for token in tokens))
