"""Flaws in the events of a run."""

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from polite_backend import PoliteBackend, PoliteEngine, PoliteSampling

from flawed_backends.found import found_by
from paragone import (
    Event,
    Finish,
    Message,
    RunRequest,
    Token,
    TokenizedText,
)
from paragone.json_values import check_inline_schema
from paragone.shared_options import JSON_SCHEMA

ORDER = "events come in order"
USAGE = "usage agrees with the events"
REPORT = "a run reports its settings"
SEED = "the reported seed reproduces the answer"
LIMIT = "an answer can be limited"
TOKENS = "tokens agree with the run"
PLAIN = "a plain text is continued"
SCHEMA = "a json schema is followed"


@found_by(SCHEMA)
class IgnoresTheSchema(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class sampling(PoliteSampling):
        json_schema: str | None = JSON_SCHEMA(None)

        def __post_init__(self) -> None:
            check_inline_schema(self.json_schema)


@found_by(PLAIN)
class AsksThePlainText(PoliteEngine):
    def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        if not request.messages:
            request = replace(request, messages=(Message(role="user", text=request.text),))
        return super().run(request)


@found_by(ORDER)
class TokenAfterFinish(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        return (finish, Token(text="and ", id=1, time=self.now()))


@found_by(ORDER)
class TwoFinishes(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        return (finish, finish)


@found_by(ORDER)
class NoFinish(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        return ()


@found_by(ORDER)
class TimeRunsBackwards(PoliteEngine):
    def now(self) -> float:
        return 2 * self.started - time.monotonic()

    started = time.monotonic()


@found_by(ORDER)
class WallClock(PoliteEngine):
    def now(self) -> float:
        return time.time()


@found_by(ORDER)
class PromptProgressFalls(PoliteEngine):
    def steps(self, cached: int, total: int) -> Sequence[int]:
        return (total, cached)


@found_by(ORDER)
class TextIsBytes(PoliteEngine):
    def token(self, word: int, top: int | None, at: float, row: list[float]) -> Token:
        text: Any = b"red "
        return replace(super().token(word, top, at, row), text=text)


@found_by(ORDER)
class HalfACharacter(PoliteEngine):
    def token(self, word: int, top: int | None, at: float, row: list[float]) -> Token:
        return replace(super().token(word, top, at, row), text="\ud83d")


@found_by(ORDER, USAGE)
class SaysNothing(PoliteEngine):
    def token(self, word: int, top: int | None, at: float, row: list[float]) -> Token:
        return replace(super().token(word, top, at, row), text="")


@found_by(USAGE, LIMIT)
class CountsItsTokensWrong(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        usage = replace(finish.usage, completion_tokens=(finish.usage.completion_tokens or 0) + 5)
        return (replace(finish, usage=usage),)


@found_by(USAGE, TOKENS, "tokens are continued")
class CountsItsPromptWrong(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        usage = replace(finish.usage, prompt_tokens=(finish.usage.prompt_tokens or 0) + 1)
        return (replace(finish, usage=usage),)


@found_by(TOKENS, "a text is tokenized")
class TokenizesAnything(PoliteEngine):
    async def tokenize(self, request):
        self.check_open()
        return TokenizedText(text=None, ids=(1, 2, 3))


@found_by("timings fit in the run")
class Milliseconds(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        timings = replace(finish.timings, decode_s=(finish.timings.decode_s or 0) * 1000 + 10)
        return (replace(finish, timings=timings),)


@found_by(LIMIT)
class KeepsQuietAboutTheLimit(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        return (replace(finish, reason="stop") if finish.reason == "length" else finish,)


@found_by("a seed reproduces an answer", SEED)
class IgnoresTheSeed(PoliteEngine):
    def chooser(self, sampling: PoliteSampling):
        return super().chooser(replace(sampling, seed=None))


@found_by(SEED)
class ReportsAnotherSeed(PoliteEngine):
    def settings(self, sampling, words, ids):
        return super().settings(replace(sampling, seed=sampling.seed + 1), words, ids)


@found_by(REPORT, SEED)
class ReportsNoSeed(PoliteEngine):
    def settings(self, sampling, words, ids):
        return [replace(told, seed=None) for told in super().settings(sampling, words, ids)]


@found_by(ORDER)
class ReportsTwice(PoliteEngine):
    def settings(self, sampling, words, ids):
        return [*super().settings(sampling, words, ids)] * 2


@found_by(REPORT)
class ReportsAForeignOption(PoliteEngine):
    def settings(self, sampling, words, ids):
        return [
            replace(told, sampling={**told.sampling, "mirostat": 2})
            for told in super().settings(sampling, words, ids)
        ]


@found_by(REPORT)
class ReportsItsDefaults(PoliteEngine):
    def settings(self, sampling, words, ids):
        return super().settings(PoliteSampling(seed=sampling.seed), words, ids)


@found_by(REPORT, "tokens are continued")
class ReportsIdsUnasked(PoliteEngine):
    def settings(self, sampling, words, ids):
        return super().settings(sampling, words, self.ids(words))


@found_by("prompt ids come on request", "a plain text is continued", "tokens are continued")
class ReportsAnotherPrompt(PoliteEngine):
    def settings(self, sampling, words, ids):
        return super().settings(sampling, words[1:], ids and ids[1:])


@found_by("a cold run reuses nothing")
class NeverCold(PoliteEngine):
    def keep(self, prompt: list[int], *, cold: bool) -> int:
        return super().keep(prompt, cold=False)


@found_by("the event loop is not blocked")
class BlocksTheLoop(PoliteEngine):
    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        stream = super().run(request)
        while True:
            try:
                yield run_to_the_next(anext(stream))
            except StopAsyncIteration:
                return


def run_to_the_next(step):
    """Run a coroutine to its next item without returning to the event loop, like blocking code."""
    try:
        while True:
            step.send(None)
    except StopIteration as done:
        return done.value


@found_by("every kind of message is taken")
class OneTurnOnly(PoliteEngine):
    def words(self, messages):
        (message,) = messages
        return super().words([message])


@found_by("an answer is continued")
class NoContinuing(PoliteEngine):
    def words(self, messages):
        assert not messages or messages[-1].role == "user"
        return super().words(messages)


@found_by("an answer is continued")
class BeginsANewAnswer(PoliteEngine):
    def words(self, messages):
        closed = bool(messages) and messages[-1].role == "assistant"
        return [*super().words(messages), "assistant"] if closed else super().words(messages)


@found_by("any text is accepted")
class Ascii(PoliteEngine):
    def words(self, messages):
        for message in messages:
            message.text.encode("ascii")
        return super().words(messages)
