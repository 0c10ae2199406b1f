"""Flaws in the score of a text."""

from dataclasses import replace

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import EngineError, Finish, PromptProgress, Token

SCORED = "a text is scored"
ENDED = "a score can be stopped"


@found_by(SCORED)
class ScoresNothing(PoliteEngine):
    async def score(self, request):
        yield Finish(reason="stop", time=self.now())


@found_by(SCORED)
class ScoresAnotherText(PoliteEngine):
    async def score(self, request):
        async for event in super().score(
            replace(request, text="Something else, and longer than what was asked.")
        ):
            yield event


@found_by(SCORED)
class CannotScoreAndIsRude(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, score=False)

    class engine(PoliteEngine):
        def score(self, request):
            raise EngineError("NotImplementedError")


@found_by(SCORED)
class CountsCharacters(PoliteEngine):
    def scored(self, token: Token) -> Token:
        return replace(token, n_bytes=len(token.text))


@found_by(SCORED)
class TellsNoBytes(PoliteEngine):
    def scored(self, token: Token) -> Token:
        return replace(token, n_bytes=None)


@found_by("tokens are scored as their text")
class LeavesOutTheFirstGivenToken(PoliteEngine):
    async def score(self, request):
        comes = not request.ids
        async for event in super().score(request):
            if comes or not isinstance(event, Token):
                yield event
            else:
                comes = True


@found_by(SCORED)
class ScoresWithoutProgress(PoliteEngine):
    async def score(self, request):
        async for event in super().score(request):
            if not isinstance(event, PromptProgress):
                yield event


@found_by(SCORED)
class ProgressEndsInTheMiddle(PoliteEngine):
    async def score(self, request):
        async for event in super().score(request):
            yield replace(event, total=event.total + 9) if isinstance(event, PromptProgress) else event


@found_by(SCORED, ENDED)
class ScoresWithoutFinish(PoliteEngine):
    async def score(self, request):
        async for event in super().score(request):
            if not isinstance(event, Finish):
                yield event


@found_by(ENDED)
class ScoreIgnoresStop(PoliteEngine):
    scoring = False

    async def pause(self) -> bool:
        return await super().pause() and not self.scoring

    async def score(self, request):
        self.scoring = True
        try:
            async for event in super().score(request):
                yield event
        finally:
            self.scoring = False


@found_by(ENDED)
class BusyWhenAScoreIsLeft(PoliteEngine):
    busy = False

    async def score(self, request):
        self.busy = True
        async for event in super().score(request):
            yield event
        self.busy = False

    def check_fits(self, prompt):
        if self.busy:
            raise EngineError("The engine is busy.")
        super().check_fits(prompt)
