"""Test doubles: variants of the polite backend with one flaw each, to test that the conformance suite finds it.

Each flaw is a mistake that the author of a backend might make. `FLAWS` says which checks find it.
"""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable
from dataclasses import make_dataclass, replace
from typing import Any, ClassVar

from polite_backend import PoliteBackend, PoliteEngine, PoliteLoad, PoliteSampling

import paragone
from paragone import Token, option
from paragone.json_values import check_inline_schema
from paragone.shared_options import JSON_SCHEMA

FLAWS: dict[type[PoliteBackend], set[str]] = {}
"""The names of the checks that find a flaw, by the flawed backend."""


def found_by(*checks: str, **flaws: type) -> Callable[[type], type]:
    """Register flawed backends, by their names, with the checks that find each. Also a decorator of one more."""

    def note(flawed: type) -> type:
        backend = flawed
        if issubclass(flawed, PoliteEngine):
            backend = type(flawed.__name__, (PoliteBackend,), {"engine": flawed})
        FLAWS[backend] = {f"test_{check.replace(' ', '_')}" for check in checks}
        return flawed

    for name, flawed in flaws.items():
        note(type(name, (flawed,), {}))
    return note


def engine(base: type = PoliteEngine, **methods: Any) -> type:
    """An engine with other methods."""
    return type("Flawed", (base,), methods)


def backend(base: type = PoliteBackend, **members: Any) -> type:
    """A backend with other members."""
    return type("Flawed", (base,), members)


def unable(name: str, **members: Any) -> type:
    """A backend that does not declare a capability."""
    return backend(capabilities=replace(PoliteBackend.capabilities, **{name: False}), **members)


def results(base: type = PoliteEngine, **changes: Callable[[Any], Any]) -> type:
    """An engine or a backend whose methods return changed results, or yield changed items; None drops an item."""
    return type("Flawed", (base,), {name: _changed(getattr(base, name), changes[name]) for name in changes})


def _changed(method: Any, change: Callable[[Any], Any]) -> Any:
    async def items(*values: Any, **named: Any) -> Any:
        async for item in method(*values, **named):
            if (changed := change(item)) is not None:
                yield changed

    async def awaited(*values: Any, **named: Any) -> Any:
        return change(await method(*values, **named))

    def returned(*values: Any, **named: Any) -> Any:
        return change(method(*values, **named))

    if inspect.isasyncgenfunction(method):
        return items
    return awaited if inspect.iscoroutinefunction(method) else returned


def arguments(base: type = PoliteEngine, **changes: Callable[[Any], Any]) -> type:
    """An engine or a backend whose methods take their first argument for another one."""

    def method(old: Any, change: Callable[[Any], Any]) -> Any:
        return lambda self, first, *others, **named: old(self, change(first), *others, **named)

    return type("Flawed", (base,), {name: method(getattr(base, name), changes[name]) for name in changes})


def options(base: type, **fields: tuple[type, Any]) -> Any:
    """A class of options with more options: of each the type and the default."""
    more = [(name, kind, default) for name, (kind, default) in fields.items()]
    return make_dataclass("Flawed", more, bases=(base,), frozen=True, slots=True, kw_only=True)


def fields(**values: Any) -> Callable[[Any], Any]:
    """A change of a value's fields."""
    return lambda value: replace(value, **values)


def only(kind: type, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change of the items of one type."""
    return lambda item: change(item) if isinstance(item, kind) else item


# ── What a backend declares ────────────────────────────────────────────────────────────────────

found_by(
    "every option has a doc and a good default",
    OptionWithoutDoc=backend(load_options=options(PoliteLoad, threads=(int, 1))),
    DefaultOutOfBounds=backend(sampling=options(PoliteSampling, p=(float, option(2.0, "Share.", maximum=1)))),
)
found_by(
    "options have their own names",
    OneOptionTwice=backend(sampling=options(PoliteSampling, context=(int, option(1024, "Context.")))),
)
found_by(
    "options have their own names",
    NamesNoStandardFact=backend(
        load_options=options(PoliteLoad, flash=(bool, option(True, "Flash attention.", fact="flashiness")))
    ),
    TwoOptionsForOneThing=backend(
        sampling=options(PoliteSampling, most=(int, option(100, "Words.", fact="max_tokens")))
    ),
)
found_by(
    "the program accepts it",
    NoTitle=backend(title=""),
    NameWithBlanks=backend(name="not quite"),
    WrittenForTheFirstVersion=backend(api_version=1),
)
found_by(
    "the probe is complete",
    ProbeWithoutFacts=results(PoliteBackend, probe=fields(facts={})),
    ProbeWithoutRemedy=results(PoliteBackend, probe=fields(usable=False, reason="It is broken.")),
)


@found_by("the probe is complete")
class ProbeRaises(PoliteBackend):
    async def probe(self, python=None):
        if python is not None:
            raise FileNotFoundError(python)
        return await super().probe()


@found_by("it lists models")
class ListingRaises(PoliteBackend):
    async def models(self, folders):
        raise FileNotFoundError(folders[0])


@found_by("its server is described")
class ServerCannotBeDescribed(PoliteBackend):
    async def endpoint(self, options):
        raise ConnectionRefusedError


found_by(
    "reached addresses are valid",
    ReachesAPage=results(PoliteBackend, reaches=lambda _: ("https://user:secret@models.example/v1",)),
    LocalAndReachesOut=results(PoliteBackend, reaches=lambda _: ("https://models.example:443",)),
    RemoteAndReachesNothing=backend(capabilities=replace(PoliteBackend.capabilities, local=False)),
)

# ── Opening and closing ────────────────────────────────────────────────────────────────────────

found_by(
    "loading reports progress",
    LoadProgressFalls=results(PoliteBackend, fractions=lambda _: (0.0, 0.6, 0.5, 1.0)),
    LoadProgressStops=results(PoliteBackend, fractions=lambda _: (0.0, 0.99)),
)


def loaded_with(base: type = PoliteBackend, **values: Any) -> type:
    """A backend whose engines describe their model with these values."""

    def change(opened: Any) -> Any:
        opened.loaded = replace(opened.loaded, **values)
        return opened

    return results(base, open=change)


found_by(
    "the loaded model is described",
    FactsAreNumbers=loaded_with(facts={"layers": 32}),
    Nameless=loaded_with(name=""),
)
found_by(
    "the weights are files that exist",
    WeightsUnidentified=loaded_with(weights=(paragone.WeightsFile(path="words"),)),
)
THREADS = options(PoliteLoad, threads=(int, option(1, "Threads.", fact="threads")))
found_by(
    "the loaded model is described",
    FactInOtherWords=loaded_with(backend(load_options=THREADS), facts={"threads": "one thread"}),
)


@found_by("two engines are open side by side")
class OneEngineForAll(PoliteBackend):
    only: ClassVar[Any] = None

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        if self.only is None or self.only.closed:
            OneEngineForAll.only = engine
        return self.only


@found_by("a closed engine cannot be used")
class WorksWhenClosed(PoliteEngine):
    async def close(self):
        pass


@found_by("a closed engine cannot be used")
class ClosesOnce(PoliteEngine):
    async def close(self):
        self.check_open()
        await super().close()


@found_by("opening can be cancelled")
class CannotBeGivenUp(PoliteBackend):
    async def open(self, request, on_progress):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return await super().open(request, on_progress)


def estimates(change: Callable[[Any], Any]) -> type:
    """A backend with a changed estimate."""
    return results(PoliteBackend, estimated=change)


def device(**values: Any) -> type:
    """A backend with a changed device in its estimate."""
    return estimates(lambda it: replace(it, devices=(replace(it.devices[0], **values),)))


def layout(change: Callable[[Any], dict[str, Any]]) -> type:
    """A backend with a changed layout in its estimate."""
    return estimates(lambda it: replace(it, layout=replace(it.layout, **change(it.layout))))


found_by(
    "memory is estimated",
    EstimatesNothing=estimates(fields(devices=(), layout=None)),
    FreesMoreThanThereIs=device(free=1 << 40),
    CannotEstimateAndDoes=unable("estimate"),
)
found_by(
    "memory is estimated",
    SharesMoreThanThereIs=layout(lambda it: {"parts": (it.parts[0], replace(it.parts[1], shared=1025))}),
    ForgetsTheCache=layout(lambda it: {"parts": (replace(it.parts[0], kv_cache=0), it.parts[1])}),
    CountsTheEmbeddingsTwice=layout(lambda _: {"main_weights": 4096}),
)
found_by("the program accepts it", QuantizesToNothing=backend(quantizations={"Q0": 0.0}))
found_by(
    "memory is estimated",
    EstimatesAnything=arguments(PoliteBackend, estimate=fields(model="words", options={})),
)


class LoadingBackend(PoliteBackend):
    """A correct backend whose server has the model in memory while an engine is open."""

    capabilities = replace(PoliteBackend.capabilities, loads=True)
    users: ClassVar[list[Any]] = []
    """The open engines, of each subclass."""

    def __init_subclass__(cls):
        cls.users = []

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        self.users.append(engine)
        return engine

    async def endpoint(self, options):
        model = paragone.ModelInfo(model="words", name="Words", is_loaded=self.is_loaded())
        return paragone.EndpointReport(address="", probe=await self.probe(), models=(model,))

    def is_loaded(self):
        return bool(self.users)

    class engine(PoliteEngine):
        backend: "LoadingBackend"

        async def close(self):
            await super().close()
            if self in self.backend.users:
                self.backend.users.remove(self)


class ClosesForAll(LoadingBackend.engine):
    async def close(self):
        await super().close()
        self.backend.users.clear()


CLOSING = "the last engine to be closed unloads the model"
found_by(
    "the last engine to be closed unloads the model",
    CLOSING,
    TellsNothing=results(LoadingBackend, is_loaded=lambda _: None),
    TellsTheContrary=results(LoadingBackend, is_loaded=lambda loaded: not loaded),
)
found_by(
    CLOSING,
    UnloadsUnderOthers=backend(LoadingBackend, engine=ClosesForAll),
    AlwaysLeavesSomething=results(close=lambda _: paragone.Caution(code="left", sentence="It stays.")),
)

# ── The events of a run ────────────────────────────────────────────────────────────────────────

ORDER = "events come in order"
USAGE = "usage agrees with the events"
REPORT = "a run reports its settings"
SEED = "the reported seed reproduces the answer"
LIMIT = "an answer can be limited"
TOKENS = "tokens agree with the run"
CONTINUED = "tokens are continued"
STARTED = time.monotonic()


def ending(change: Callable[[Any], Any]) -> type:
    """An engine with another end of a run."""
    return engine(ending=lambda self, finish: (change(finish),))


def counting(name: str, more: int) -> type:
    """An engine that counts more tokens."""
    return ending(
        lambda it: replace(it, usage=replace(it.usage, **{name: (getattr(it.usage, name) or 0) + more}))
    )


def late(finish: Any) -> Any:
    timings = replace(finish.timings, decode_s=(finish.timings.decode_s or 0) * 1000 + 10)
    return replace(finish, timings=timings)


def reporting(change: Callable[[Any], Any]) -> type:
    """An engine with another report of its settings."""
    return results(settings=lambda reports: [change(report) for report in reports])


found_by(
    ORDER,
    TokenAfterFinish=engine(ending=lambda self, it: (it, Token(text="and ", id=1, time=self.now()))),
    NoFinish=engine(ending=lambda self, it: ()),
    TimeRunsBackwards=engine(now=lambda self: 2 * STARTED - time.monotonic()),
    WallClock=engine(now=lambda self: time.time()),
    PromptProgressFalls=engine(steps=lambda self, cached, total: (total, cached)),
    TextIsBytes=results(token=fields(text=b"red ")),
    HalfACharacter=results(token=fields(text="\ud83d")),
    ReportsTwice=results(settings=lambda reports: [*reports, *reports]),
)
found_by(ORDER, USAGE, SaysNothing=results(token=fields(text="")))
found_by(USAGE, LIMIT, CountsItsTokensWrong=counting("completion_tokens", 5))
found_by(USAGE, TOKENS, CONTINUED, CountsItsPromptWrong=counting("prompt_tokens", 1))
found_by(TOKENS, "a text is tokenized", TokenizesAnything=results(tokenize=fields(text=None, ids=(1, 2, 3))))
found_by("events come in order", Milliseconds=ending(late))
found_by(
    LIMIT,
    KeepsQuietAboutTheLimit=ending(lambda it: replace(it, reason="stop") if it.reason == "length" else it),
)
found_by(SEED, IgnoresTheSeed=arguments(chooser=fields(seed=None)))
found_by(SEED, ReportsAnotherSeed=arguments(settings=lambda it: replace(it, seed=it.seed + 1)))
found_by(SEED, ReportsNoSeed=reporting(fields(seed=None)))
found_by(REPORT, ReportsItsDefaults=arguments(settings=lambda it: PoliteSampling(seed=it.seed)))
found_by(REPORT, CONTINUED, ReportsIdsUnasked=reporting(fields(prompt_ids=(1, 2))))
found_by(
    "prompt ids come on request",
    "a plain text is continued",
    CONTINUED,
    ReportsAnotherPrompt=reporting(
        lambda it: replace(it, prompt=it.prompt[1:], prompt_ids=it.prompt_ids and it.prompt_ids[1:])
    ),
)


def with_message(request: Any) -> Any:
    asked = request.messages or (paragone.Message(role="user", text=request.text),)
    return replace(request, messages=asked)


found_by("a plain text is continued", AsksThePlainText=arguments(run=with_message))


@found_by("a cold run reuses nothing")
class NeverCold(PoliteEngine):
    def keep(self, prompt, *, cold):
        return super().keep(prompt, cold=False)


@found_by("a json schema is followed")
class IgnoresTheSchema(PoliteBackend):
    class sampling(options(PoliteSampling, json_schema=(str | None, JSON_SCHEMA(None)))):  # type: ignore[misc]
        def __post_init__(self):
            check_inline_schema(self.json_schema)


@found_by("the event loop is not blocked")
class BlocksTheLoop(PoliteEngine):
    async def run(self, request):
        stream = super().run(request)
        while True:
            try:
                anext(stream).send(None)
            except StopIteration as item:
                yield item.value
            except StopAsyncIteration:
                return

    async def pause(self):
        return self.stopping


def one_turn(messages: Any) -> Any:
    (message,) = messages
    return [message]


def ends_with_user(messages: Any) -> Any:
    assert not messages or messages[-1].role == "user"
    return messages


def answer_begun(messages: Any) -> Any:
    closed = messages and messages[-1].role == "assistant"
    return [*messages, paragone.Message(role="assistant", text="")] if closed else messages


def ascii_only(messages: Any) -> Any:
    assert all(message.text.isascii() for message in messages)
    return messages


found_by("every kind of message is taken", OneTurnOnly=arguments(words=one_turn))
found_by(
    "an answer is continued",
    NoContinuing=arguments(words=ends_with_user),
    BeginsANewAnswer=arguments(words=answer_begun),
)
found_by("any text is accepted", Ascii=arguments(words=ascii_only))
