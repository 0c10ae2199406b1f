"""A run: one request to one engine, from its specification to its end."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import paragone
from paragone.texts import without_keys
from paragone_workbench.engines.failures import notify
from paragone_workbench.ids import new_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.text import GrowingText

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.runs.metrics import Meter
    from paragone_workbench.runs.result import Prefix, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec(paragone.RunRequest):
    """One request to an engine. The engine's sampling options apply where `sampling` has none, and the turn's number
    of threads if `threads` is None. With `logprobs`, the result keeps the tokens."""

    left_out: int | None = None
    """Number of the oldest messages to drop, as in a recorded run; None to let the engine's options decide."""
    choices: tuple[str, ...] = ()
    """Texts of which the most likely one is the answer. If there are any, the engine generates nothing."""

    @classmethod
    def of_prompt(
        cls,
        text: str,
        *,
        images: Sequence[paragone.Image] = (),
        system: str = "",
        sampling: Mapping[str, paragone.Json] | None = None,
        logprobs: int | None = None,
    ) -> RunSpec:
        messages = [paragone.Message(role="system", text=system)] if system else []
        messages.append(paragone.Message(role="user", text=text, images=tuple(images)))
        return cls(messages=tuple(messages), sampling=sampling or {}, logprobs=logprobs)


@dataclass(slots=True, eq=False)
class Turn:
    threads: int | None = None
    """Number of CPU threads; None if the engine chooses the number."""
    schedule: str = ""
    """The active schedule (`parallel`, `sequential` or `swap`), for the manifest."""
    cautions: tuple[paragone.Caution, ...] = ()
    """Warnings for the user that arose before the turn."""
    shared: bool | None = None
    """Whether another run has used the same server or this machine during the turn; None if unknown."""


RunPhase: TypeAlias = Literal["waiting", "queued", "prefill", "decode", "ended"]
"""`waiting`: the run waits for its engine, for earlier runs or for its turn; `queued`: the run waits in the queue of a
server; `prefill`: the engine processes the prompt; `decode`: the engine generates the answer."""


MOST_CAUTIONS = 100
"""Number of warnings of an engine that a run keeps."""


class Run:
    """A run that waits, is in progress, or has ended. The run has the only copy of its text, which screens and files show.

    `watchers` are called after each change of its state. Iterating over a run yields the events of its engine as they
    come; awaiting a run returns its result, or raises its error.
    """

    def __init__(
        self, result: RunResult, *, prompt: Prompt | None = None, continues: Run | None = None
    ) -> None:
        """Create a run that has ended, from a result in the history or in a document. `Run.of` creates a run that waits."""
        self.prompt = prompt
        self.continues = continues
        self.number: int | None = None
        """The number by which users name the run: 45 in `r45`; None before the run is saved in a conversation."""
        self.spec: RunSpec | None = None
        self.phase: RunPhase = "ended"
        self.progress: paragone.PromptProgress | None = None
        """How much of the prompt has been processed."""
        self.silent_s = 0
        """Seconds for which a silent engine has sent nothing; 0 while the engine sends events."""
        self.meter: Meter | None = None
        """Computes the metrics so far; None before the request is sent, and for runs read from the history."""
        self.watchers: list[Callable[[Run], None]] = []
        """Called on the event loop after each change. A watcher's exception is reported, and the run continues."""
        self.begun = time.monotonic()
        """When the run was created, on a clock that changes of the wall clock do not affect."""
        self._result = result
        self.error = paragone.ParagoneError(result.error, hint=result.hint) if result.error else None
        self._texts: dict[paragone.Channel, GrowingText] = {
            "answer": GrowingText(result.text),
            "thinking": GrowingText(result.thinking),
        }
        self._tokens = list(result.tokens)
        self._has_grown = False
        self.stopping = asyncio.Event()
        """Set once the run is to end early."""
        self.readers: list[asyncio.Queue[paragone.Event | None]] = []
        """The unread events of each reader that iterates over the run."""
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of(
        cls,
        definition: EngineDefinition,
        *,
        prompt: Prompt | None = None,
        continues: Run | None = None,
        prefix: Prefix | None = None,
    ) -> Run:
        """Return a run that waits for its engine. The definition must have no secrets. `prefix` is the start of the answer."""
        result = RunResult(id=new_id(), definition=definition, started=time.time())
        if prefix is not None:
            result = dataclasses.replace(
                result,
                text=prefix.text,
                thinking=prefix.thinking,
                tokens=prefix.result_tokens,
                prefilled=prefix.prefilled,
            )
        run = cls(result, prompt=prompt, continues=continues)
        run.phase = "waiting"
        return run

    @property
    def id(self) -> str:
        return self._result.id

    @property
    def result(self) -> RunResult:
        if self._has_grown:
            self._has_grown = False
            self._result = dataclasses.replace(
                self._result, text=self.text, thinking=self.thinking, tokens=tuple(self._tokens)
            )
        return self._result

    @result.setter
    def result(self, result: RunResult) -> None:
        self._result = result

    @property
    def state(self) -> RunState:
        return self._result.state

    @property
    def settings(self) -> paragone.RunSettings | None:
        return self._result.settings

    @property
    def cautions(self) -> tuple[paragone.Caution, ...]:
        return self._result.cautions

    @property
    def text(self) -> str:
        return str(self._texts["answer"])

    @property
    def thinking(self) -> str:
        return str(self._texts["thinking"])

    @property
    def length(self) -> int:
        return sum(map(len, self._texts.values()))

    # Changes

    def take(self, event: paragone.Event) -> None:
        match event:
            case paragone.Token():
                self.phase = "decode"
                if self.spec is not None and self.spec.logprobs is not None:
                    self.keep(event)
                if event.text:
                    self.add(event.channel, event.text)
            case paragone.Queued():
                self.phase = "queued"
            case paragone.PromptProgress():
                self.phase, self.progress = "prefill", event
            case paragone.RunSettings():
                self.result = dataclasses.replace(self.result, settings=event)
            case paragone.Caution() if len(self.cautions) <= MOST_CAUTIONS:
                if len(self.cautions) == MOST_CAUTIONS:
                    message = f"The engine sent more than {MOST_CAUTIONS} warnings. The others are not kept."
                    event = paragone.Caution(code="many-cautions", sentence=message)
                self.result = dataclasses.replace(self.result, cautions=(*self.cautions, event))
            case paragone.Finish():
                self.result = dataclasses.replace(self.result, finish=event.reason)
        self.changed()

    def keep(self, token: paragone.Token) -> None:
        """Add a token with its log-probability to the result, but not its text, which `add` appends."""
        self._tokens.append(token)
        self._has_grown = True

    def add(self, channel: paragone.Channel, text: str) -> None:
        self._texts[channel].append(text)
        self._has_grown = True

    def fail(self, error: paragone.ParagoneError) -> None:
        """Record that the run failed, with the error's message without secret keys."""
        self.error = error
        message, hint = without_keys(error.message), without_keys(error.hint)
        self.result = dataclasses.replace(self.result, state="failed", error=message, hint=hint)

    def changed(self) -> None:
        notify(self.watchers, self)

    # Execution

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Start the task that executes the run and calls `end`."""
        self._task = asyncio.create_task(work)
        # A task that is cancelled before its first step executes none of its own code.
        self._task.add_done_callback(lambda _: self.end())

    def end(self) -> None:
        """Record that the run has ended, with the state in its result. A run without such a state was cancelled."""
        if self.phase == "ended":
            return
        self.phase = "ended"
        ended = self.result.started + time.monotonic() - self.begun
        result = dataclasses.replace(self.result, ended=ended)
        if result.state == "running" and self._is_stopped:
            result = dataclasses.replace(result, state="stopped", finish="cancelled")
        elif result.state == "running":  # the event loop has ended
            result = dataclasses.replace(result, state="interrupted")
        self.result = result
        for unread in self.readers:
            if unread.empty():
                unread.put_nowait(None)
        self.changed()

    def stop(self) -> None:
        """Ask the run to end. A run that waits for its engine or its turn ends immediately; otherwise the engine ends
        it soon."""
        if not self._is_stopped:
            self._is_stopped = True
            self.stopping.set()
            if self.phase == "waiting" and self._task is not None:
                self._task.cancel()

    async def ended(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    def __await__(self) -> Generator[None, None, RunResult]:
        return self._result_or_error().__await__()

    async def _result_or_error(self) -> RunResult:
        await self.ended()
        if self.error is not None:
            raise self.error
        return self.result

    def __aiter__(self) -> AsyncGenerator[paragone.Event, None]:
        return self.events()

    async def events(self, most_unread: int = 0) -> AsyncGenerator[paragone.Event, None]:
        """Yield the events of the engine from now to the end of the run. The engine waits while `most_unread` events
        are unread, unless that is 0."""
        unread: asyncio.Queue[paragone.Event | None] = asyncio.Queue(most_unread)
        self.readers.append(unread)
        try:
            while self.phase != "ended" or not unread.empty():
                if (event := await unread.get()) is not None:
                    yield event
        finally:
            self.readers.remove(unread)
            while not unread.empty():  # the engine may wait
                unread.get_nowait()

    async def stream(self) -> AsyncGenerator[str, None]:
        """Yield the text of the answer as it comes. Raises the error of the run."""
        text = self.text
        async for event in self:
            if isinstance(event, paragone.Token) and event.channel == "answer":
                text += event.text
            if text:
                yield text
                text = ""
        if text:
            yield text
        await self
