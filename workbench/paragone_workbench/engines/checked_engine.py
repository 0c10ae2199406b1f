"""An open engine whose answers are checked. Everything that an engine returns to the application passes through this class."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import ParamSpec, TypeVar

from paragone import (
    Alternative,
    Caution,
    DistributionsRequest,
    Embeddings,
    EmbedRequest,
    EngineError,
    Event,
    Finish,
    LoadedModel,
    LogitsBlock,
    OpenEngine,
    ParagoneError,
    RunRequest,
    ScoreRequest,
    TokenizedText,
    TokenizeRequest,
    TopTokensRequest,
    Vocabulary,
)
from paragone.checks import check_alternatives, check_embeddings, check_event, check_logits, check_value
from paragone.violation import InterfaceViolation
from paragone_workbench.engines.error_boundary import as_paragone_error

_P = ParamSpec("_P")
_T = TypeVar("_T")


class CheckedEngine(OpenEngine):
    """Passes requests to an engine. A wrong answer raises EngineError with the name of the backend and the mistake."""

    def __init__(self, engine: OpenEngine, backend: str) -> None:
        """Check how the engine describes its model. Raises EngineError if the description is wrong."""
        self.engine = engine
        """The engine as the backend opened it."""
        self._backend = backend
        self.loaded = self._checked(check_value, LoadedModel, getattr(engine, "loaded", None))

    @classmethod
    async def of(cls, opened: object, backend: str) -> CheckedEngine:
        """Return the engine that a backend opened. If the engine describes its model wrongly, close the engine and raise EngineError."""
        if not isinstance(opened, OpenEngine):
            raise as_paragone_error(InterfaceViolation.expected("an OpenEngine", opened), backend)
        try:
            return cls(opened, backend)
        except EngineError:
            await opened.close()
            raise

    def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Answer a prompt."""
        return self._events(self.engine.run(request))

    def score(self, request: ScoreRequest) -> AsyncGenerator[Event, None]:
        """Compute the log-probabilities of a given text."""
        return self._events(self.engine.score(request))

    async def _events(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Yield the events up to the end of the answer. Events after the end are left out, with a caution."""
        ended = False
        async with contextlib.aclosing(events):
            async for event in events:
                if ended:
                    sentence = f"The backend {self._backend} sent more after the end of its answer; the rest is left out."
                    yield Caution(code="after-finish", sentence=sentence)
                    return
                checked = self._checked(check_event, event)
                ended = isinstance(checked, Finish)
                yield checked

    async def stop(self) -> None:
        """Ask the current job to end early."""
        await self.engine.stop()

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of a conversation's prompt, or of a text."""
        return self._checked(check_value, TokenizedText, await self.engine.tokenize(request))

    async def distributions(self, request: DistributionsRequest) -> AsyncGenerator[LogitsBlock, None]:
        """Compute the logits over the whole vocabulary."""
        async with contextlib.aclosing(self.engine.distributions(request)) as blocks:
            async for block in blocks:
                yield self._checked(check_logits, block)

    async def top_tokens(self, request: TopTokensRequest) -> AsyncGenerator[tuple[Alternative, ...], None]:
        """Report the likeliest next tokens after tokens of a sequence."""
        async with contextlib.aclosing(self.engine.top_tokens(request)) as positions:
            async for tokens in positions:
                yield self._checked(check_alternatives, tokens)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Return a vector for each text."""
        return self._checked(check_embeddings, await self.engine.embed(request), len(request.inputs))

    async def vocabulary(self) -> Vocabulary:
        """Return the size and the fingerprint of the vocabulary."""
        return self._checked(check_value, Vocabulary, await self.engine.vocabulary())

    async def ended(self) -> ParagoneError:
        """Wait until the engine ends by itself, and return why."""
        return as_paragone_error(await self.engine.ended(), self._backend)

    async def close(self) -> Caution | None:
        """Free everything the engine holds, and return the reason if a server keeps the model in memory."""
        left = await self.engine.close()
        return None if left is None else self._checked(check_value, Caution, left)

    def _checked(self, check: Callable[_P, _T], *values: _P.args, **named: _P.kwargs) -> _T:
        try:
            return check(*values, **named)
        except InterfaceViolation as error:
            raise as_paragone_error(error, self._backend) from error
