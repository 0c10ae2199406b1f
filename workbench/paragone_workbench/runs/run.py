"""A run: one request to one engine, from its specification to its end."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from paragone import Json, Message, ParagoneError, RunRequest
from paragone.texts import without_keys
from paragone_workbench.engines.failures import notify_observers
from paragone_workbench.ids import new_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.text import GrowingText

if TYPE_CHECKING:
    from paragone import Caution, Channel, FinishReason, Image, PromptProgress, RunSettings, Token
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.runs.metrics import Meter
    from paragone_workbench.runs.result import EndState, Prefix, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec(RunRequest):
    """One request to an engine. The engine's sampling options apply where `sampling` has none, and the turn's number
    of threads if `threads` is None. With `logprobs`, the result keeps the tokens."""

    left_out: int | None = None
    """Number of the oldest messages to leave out, as in a recorded run; None to let the engine's options decide."""

    @classmethod
    def of_prompt(
        cls,
        text: str,
        *,
        images: Sequence[Image] = (),
        system: str = "",
        sampling: Mapping[str, Json] | None = None,
        logprobs: int | None = None,
    ) -> RunSpec:
        messages = [Message(role="system", text=system)] if system else []
        messages.append(Message(role="user", text=text, images=tuple(images)))
        return cls(messages=tuple(messages), sampling=sampling or {}, logprobs=logprobs)


RunPhase: TypeAlias = Literal["waiting", "queued", "prefill", "decode", "ended"]
"""`waiting`: the run waits for its engine, for earlier runs or for its turn; `queued`: the run waits in the queue of a server;
`prefill`: the engine processes the prompt; `decode`: the engine generates the answer."""


class Run:
    """A run that waits, is in progress, or has ended. The run has the only copy of its text, which screens and files show."""

    def __init__(
        self, result: RunResult, *, prompt: Prompt | None = None, continues: Run | None = None
    ) -> None:
        """Create a run that has ended, from the result in the history or a document. `Run.of` creates a run that waits."""
        self.prompt = prompt
        self.continues = continues
        self.number: int | None = None
        """The number by which users name the run: 45 in `r45`; None before the run is saved in a conversation."""
        self.spec: RunSpec | None = None
        self.phase: RunPhase = "ended"
        self.progress: PromptProgress | None = None
        """How much of the prompt has been processed."""
        self.silent_s = 0
        """Seconds for which a silent engine has sent nothing; 0 while the engine sends events."""
        self.room: asyncio.Event | None = None
        """The engine waits while this is not set: the reader of the answer is behind."""
        self.meter: Meter | None = None
        """Computes the metrics so far; None before the request is sent, and for runs read from the history."""
        self._result = result
        self.error = ParagoneError(result.error, hint=result.hint) if result.error else None
        self._texts: dict[Channel, GrowingText] = {
            "answer": GrowingText(result.text),
            "thinking": GrowingText(result.thinking),
        }
        self._tokens = list(result.tokens)
        self._has_grown = False
        self._observers: list[RunObserver] = []

    @classmethod
    def of(
        cls,
        definition: EngineDefinition,
        *,
        prompt: Prompt | None = None,
        continues: Run | None = None,
        prefix: Prefix | None = None,
    ) -> Run:
        """Return a run that waits for its engine, given without secrets. `prefix` is the start of the answer."""
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
    def settings(self) -> RunSettings | None:
        return self._result.settings

    @property
    def text(self) -> str:
        return str(self._texts["answer"])

    @property
    def thinking(self) -> str:
        return str(self._texts["thinking"])

    @property
    def length(self) -> int:
        """Number of characters of the answer and the thinking."""
        return sum(map(len, self._texts.values()))

    def keep(self, token: Token) -> None:
        """Add a token with its log-probability to the result, but not its text, which `add` appends."""
        self._tokens.append(token)
        self._has_grown = True

    def tokens_from(self, index: int) -> tuple[Token, ...]:
        return tuple(self._tokens[index:])

    def add(self, channel: Channel, text: str) -> None:
        self._texts[channel].append(text)
        self._has_grown = True
        self.notify(lambda observer: observer.text_came(self, channel, text))

    def end_as(self, state: EndState, *, finish: FinishReason | None = None) -> None:
        """Record how the run ends. Without `finish`, keep the finish reason that the engine gave."""
        kept = self._result.finish if finish is None else finish
        self.result = dataclasses.replace(self.result, state=state, finish=kept)

    def fail(self, error: ParagoneError) -> None:
        """Record that the run failed, and the message of the error without secret keys."""
        self.error = error
        sentence, hint = without_keys(error.sentence), without_keys(error.hint)
        self.result = dataclasses.replace(self.result, state="failed", error=sentence, hint=hint)

    def subscribe(self, observer: RunObserver) -> None:
        self._observers.append(observer)

    def unsubscribe(self, observer: RunObserver) -> None:
        if observer in self._observers:
            self._observers.remove(observer)

    def notify(self, call: Callable[[RunObserver], None]) -> None:
        notify_observers(self._observers, call, "a run")

    def changed(self) -> None:
        self.notify(lambda observer: observer.run_changed(self))


class RunObserver(Protocol):  # each method returns explicitly, since none is abstract
    """Receives the events of a run, on the event loop. An exception goes to the loop's exception handler; the run
    continues."""

    def run_changed(self, run: Run) -> None:
        """The run's phase, its settings or a figure changed, without new text; `text_came` reports new text."""
        return

    def run_started(self, run: Run) -> None:
        """The request was sent to the engine; the run's manifest is complete."""
        return

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        """New text of the answer or of the thinking was added to the run, and the figures changed."""
        return

    def cautioned(self, run: Run, caution: Caution) -> None:
        return

    def run_ended(self, run: Run) -> None:
        """The run ended; its result is complete."""
        return
