"""A lane: an engine, and a path through the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

from paragone import Caution, Channel, LoadedModel, ParagoneError
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition, to_keep
from paragone_workbench.engines.error_boundary import report
from paragone_workbench.engines.handle import EngineHandle, EngineObserver
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.observer import LaneObserver
from paragone_workbench.runs.context import messages_for, path_to
from paragone_workbench.runs.execute import Execution, Turns, execute
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.store.records import LaneRecord

__all__ = ["Lane", "LaneState"]

LaneState: TypeAlias = Literal[
    "empty", "loading", "ready", "waiting", "reading", "writing", "done", "stopped", "failed", "crashed"
]
"""`empty`: the engine is not open; `waiting`: for the engine or for a turn; `reading`: the prompt is
processed; `done`, `stopped`, `failed`: how the last run ended; `failed` and `crashed` are also how an
engine is that could not be opened, or is gone."""


class Lane(EngineObserver, RunObserver):
    """A column: its engine answers prompts one after the other, and each run continues the one before.

    Its methods are called on the event loop; none raises for an engine's sake.
    """

    def __init__(
        self,
        definition: EngineDefinition,
        registry: Registry,
        *,
        name: str = "",
        turns: Turns | None = None,
        record: LaneRecord | None = None,
        kept: Callable[[EngineDefinition], EngineDefinition] = to_keep,
    ) -> None:
        """Make a lane whose engine is not open yet.

        `turns` gives its runs their turns. `record` is an earlier lane to go on with,
        `kept` returns a definition as it may be saved.
        """
        self.name = name or definition.name
        """What it is called beside others, which may have the same engine."""
        self.engine = EngineHandle(definition, registry)
        self.engine.observers.append(self)
        self.record = record or LaneRecord(definition=definition, position=0)
        """Its path and its runs, as they are saved."""
        self.observers: list[LaneObserver] = []
        self.present: RunRecord | None = None
        """The run under way, from the prompt to its end."""
        self._asked = False
        """Whether the engine, as it is open now, had the run at the end of the path."""
        self._was_open = False
        self._turns = turns
        self._kept = kept
        self._executions: list[Execution] = []
        self._given_up: list[RunRecord] = []
        """Runs that ended before their turn; they are told of once the present one has ended."""
        self._idle = asyncio.Event()
        self._idle.set()

    # What there is

    @property
    def path(self) -> tuple[RunRecord, ...]:
        """The runs that the lane shows: each continues the one before; the last may be under way or wait."""
        return path_to(self.record.head)

    @property
    def queued(self) -> int:
        """Prompts that wait for the run under way to end."""
        return max(0, len(self._executions) - 1)

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way or waits."""
        return bool(self._executions)

    @property
    def last(self) -> RunRecord | None:
        """The run under way, else the last one that this engine ended; None where it was not asked yet."""
        return self.present or (self.record.head if self._asked else None)

    @property
    def state(self) -> LaneState:
        """What the lane does, or how it ended."""
        run, engine = self.last, self.engine
        if self.present is not None and self.present.phase != "waiting":
            return "reading" if self.present.phase == "prefill" else "writing"
        if engine.state == "opening":
            return "loading"
        if engine.state in ("failed", "crashed"):
            return "crashed" if engine.state == "crashed" else "failed"
        if self.present is not None:
            return "waiting"
        if engine.state == "closed":
            return "empty"
        if run is None:
            return "ready"
        if run.state in ("done", "failed"):
            return "done" if run.state == "done" else "failed"
        return "stopped"

    @property
    def error(self) -> ParagoneError | None:
        """Why the engine is not open, or why the last run failed."""
        return self.engine.error or (self.last.error if self.last is not None else None)

    @property
    def last_answer(self) -> str:
        """The last answer on the path as it came, without empty lines around it; empty where there is none."""
        return next((run.text.strip("\r\n") for run in reversed(self.path) if run.text), "")

    def answer(self, prompt: Prompt) -> RunRecord | None:
        """Return the lane's run of a prompt, the one on its path; None where it was not asked."""
        return next((run for run in self.path if run.prompt is prompt), None)

    # Runs

    def ask(
        self, prompt: Prompt, *, logprobs: int | None = None, cold: bool = False, prompt_ids: bool = False
    ) -> RunRecord:
        """Have the prompt answered after the runs before it, and return the run."""
        return self._begin(prompt, self.record.head, logprobs=logprobs, cold=cold, prompt_ids=prompt_ids)

    def answer_again(self, prompt: Prompt) -> RunRecord:
        """Have a prompt answered anew, beside its earlier answer, or for the first time."""
        before = self.answer(prompt)
        return self._begin(prompt, self.record.head if before is None else before.continues)

    def select(self, head: RunRecord | None) -> None:
        """Go on from another run. Only while the lane is not busy."""
        assert not self.is_busy  # its caller has seen to it
        self.record.head = head
        self._asked = False
        self._changed()

    def take_up(self, record: LaneRecord) -> None:
        """Go on with another path; the engine stays. Only while the lane is not busy."""
        assert not self.is_busy  # its caller has seen to it
        self.record = record
        self._asked = False
        self._changed()

    async def stop(self) -> None:
        """End the run under way early, and those that wait before they begin."""
        active = [execution for execution in self._executions if not execution.give_up()]
        await asyncio.gather(*(execution.stop() for execution in active))

    async def answered(self) -> None:
        """Wait until no run is under way."""
        await self._idle.wait()

    def _begin(
        self,
        prompt: Prompt,
        continues: RunRecord | None,
        *,
        logprobs: int | None = None,
        cold: bool = False,
        prompt_ids: bool = False,
    ) -> RunRecord:
        self._asked = True
        run = RunRecord(definition=self.engine.definition, prompt=prompt, continues=continues)
        self.record.head = run
        self.record.runs.append(run)

        def spec() -> RunSpec:
            return RunSpec(
                messages=messages_for(prompt, continues),
                sampling=prompt.sampling_in_force,
                logprobs=logprobs,
                cold=cold,
                prompt_ids=prompt_ids,
            )

        run.subscribe(self)
        self._idle.clear()
        self._executions.append(execute(run, self.engine, spec, turns=self._turns))
        if len(self._executions) == 1:
            self._present(run)
        else:
            self._changed()
        return run

    def _present(self, run: RunRecord | None) -> None:
        self.present = run
        self._changed()
        if run is not None:
            self.tell(lambda it: it.prompted(self, run))

    # The engine

    def open(self, threads: int | None = None) -> None:
        """Begin to open the engine, unless that is under way or done."""
        self.engine.open(threads)

    async def swap(
        self,
        definition: EngineDefinition,
        threads: int | None = None,
        *,
        name: str = "",
        opens: bool = True,
    ) -> None:
        """Go on with another engine; the path stays. A run under way is stopped, and so are those that wait.

        Returns once the engine before it is closed. Without `opens`, the next run opens the new one.
        """
        self._give_up_waiting()
        self.name = name or definition.name
        self.record.definition = self._kept(definition)
        await self.engine.replace(definition, threads, opens=opens)

    async def restart(self, threads: int | None = None, *, opens: bool = True) -> None:
        """Open the engine anew, whatever it does now."""
        await self.swap(self.engine.definition, threads, name=self.name, opens=opens)

    async def close(self) -> None:
        """Close the engine. A run under way is stopped, and so are those that wait."""
        self._give_up_waiting()
        await self.engine.close()

    def _give_up_waiting(self) -> None:
        for execution in self._executions:
            execution.give_up()

    # What its runs and its engine tell

    def run_changed(self, run: RunRecord) -> None:
        """Pass it on."""
        self._changed()

    def run_started(self, run: RunRecord) -> None:
        """Pass it on."""
        self._changed()
        self.tell(lambda it: it.run_started(self, run))

    def text_came(self, run: RunRecord, channel: Channel, text: str) -> None:
        """Pass it on."""
        self.tell(lambda it: it.text_came(self, run, channel, text))

    def cautioned(self, run: RunRecord, caution: Caution) -> None:
        """Pass it on."""
        self._caution(caution)

    def run_ended(self, run: RunRecord) -> None:
        """Go on with the next run that waits."""
        self._executions = [it for it in self._executions if it.run is not run]
        if run is not self.present:
            self._given_up.append(run)
            self._changed()
            return
        self.present = None
        self._changed()
        self.tell(lambda it: it.run_ended(self, run))
        given_up, self._given_up = self._given_up, []
        for waited in given_up:
            self._tell_of(waited)
        if self._executions:
            self._present(self._executions[0].run)
        else:
            self._idle.set()

    def _tell_of(self, run: RunRecord) -> None:
        self.tell(lambda it: it.prompted(self, run))
        self.tell(lambda it: it.run_ended(self, run))

    def engine_changed(self, engine: EngineHandle) -> None:
        """Pass it on. An engine that was just opened has not been asked anything."""
        if engine.is_open and not self._was_open and self.present is None:
            self._asked = False
        self._was_open = engine.is_open
        self._changed()

    def engine_opened(self, engine: EngineHandle, loaded: LoadedModel) -> None:
        """Tell what the user should know of the model."""
        for caution in loaded.cautions:
            self._caution(caution)

    def engine_failed(self, engine: EngineHandle, error: ParagoneError) -> None:
        """Pass it on."""
        self.tell(lambda it: it.engine_failed(self, error))

    def _caution(self, caution: Caution) -> None:
        self.tell(lambda it: it.cautioned(self, caution))

    def show(self) -> None:
        """Have all observers look at the lane again."""
        self._changed()

    def _changed(self) -> None:
        self.tell(lambda it: it.state_changed(self))

    def tell(self, what: Callable[[LaneObserver], None]) -> None:
        """Tell all observers."""
        for observer in tuple(self.observers):
            try:
                what(observer)
            except Exception as error:  # noqa: BLE001 (its mistake costs neither the lane nor the others)
                report("An observer of a lane failed.", error)
