"""A lane: an engine that answers the prompts of a conversation, and the unique names of lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone_workbench.engines import definitions
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.runs.context import path_to, request_of
from paragone_workbench.store.records import LaneRecord

if TYPE_CHECKING:
    from paragone import Caution, ParagoneError
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.runs.result import Prefix
    from paragone_workbench.runs.run import Run, RunSpec
    from paragone_workbench.runs.scheduler import EnginePool


def unique_name(definition: definitions.EngineDefinition, lanes: Iterable[Lane], registry: Registry) -> str:
    """Return a name that no other lane has: the engine's name, followed if necessary by the backend, the server or a number."""
    named = [(lane.name, lane.engine.definition) for lane in lanes]
    return _unique(definition, named, registry.find)


def names_of(lanes: Sequence[LaneRecord], find: definitions.BackendLookup) -> Mapping[str, str]:
    """Return the names of saved lanes when their conversation is opened, by their ids; closed lanes come last."""
    named: list[tuple[str, definitions.EngineDefinition]] = []
    names: dict[str, str] = {}
    for lane in sorted(lanes, key=lambda lane: lane.closed):
        names[lane.id] = _unique(lane.definition, named, find)
        named.append((names[lane.id], lane.definition))
    return names


def _unique(
    definition: definitions.EngineDefinition,
    named: Sequence[tuple[str, definitions.EngineDefinition]],
    find: definitions.BackendLookup,
) -> str:
    taken = {name for name, _ in named}
    namesakes = [other for _, other in named if other.name == definition.name]
    names = [definition.name]
    if any(other.backend != definition.backend for other in namesakes):
        names.append(f"{definition.name} ({definition.backend})")
    server = definitions.server_of(definition, find(definition.backend)) if namesakes else ""
    if server and any(definitions.server_of(other, find(other.backend)) != server for other in namesakes):
        names.append(f"{definition.name} ({server})")
    return next(name for name in chain(names, definitions.numbered(definition.name)) if name not in taken)


LaneState: TypeAlias = Literal[
    "empty",
    "loading",
    "ready",
    "waiting",
    "queued",
    "reading",
    "writing",
    "done",
    "stopped",
    "failed",
    "crashed",
]
"""`empty`: the engine is not open. `waiting`: a run waits for the engine or for its turn. `queued`: a run waits in
the queue of a server, or may wait there because the server has sent nothing yet. `reading`: the engine processes the
prompt. `writing`: the engine generates the answer. `done`: the last run is complete. `stopped`: the last run or the
opening of the engine was stopped. `failed`: the last run failed, or the engine could not be opened. `crashed`: the
engine's process ended unexpectedly."""


class Lane:
    """Answers prompts with an engine, one at a time; each run continues the previous one. Raises no errors of the engine."""

    def __init__(
        self,
        definition: definitions.EngineDefinition,
        pool: EnginePool,
        *,
        name: str = "",
        record: LaneRecord | None = None,
    ) -> None:
        self.name = name or definition.name
        """The lane's name, unique among the lanes; several lanes may have the same engine."""
        self.first_definition = definition
        """The engine's definition when the lane was created or its conversation was reopened."""
        self.is_reopened = record is not None and bool(record.runs)
        """Whether `first_definition` comes from a reopened conversation."""
        self.engine = pool.add(definition)
        self.engine.watchers.append(self._engine_changed)
        self.record = record or LaneRecord(definition=definition, position=0)
        """The lane's path and runs, in the form that the history saves."""
        self.on_change: Callable[[Lane], None] = lambda lane: None
        """Called after each change of the lane: its runs with their texts, its engine, or its cautions."""
        self.cautions: list[tuple[Run | None, Caution]] = []
        """The warnings for the user about the runs and, with None, about the engine, oldest first."""
        self.present: Run | None = None
        self._asked = False
        """Whether the engine has executed the last run of the path since the engine was opened."""
        self._was_open = False
        self._pool = pool
        self.logprobs: Callable[[EngineTask], int | None] = lambda _: None
        """Returns the number of alternatives that a run asks for with each token; None for no tokens."""
        self.when_free: Callable[[Lane, Run], None] = lambda lane, run: None
        """Called when a run has ended: the lane can begin the next prompt."""
        self._warned = 0
        """How many warnings about the current run are already in `cautions`."""
        self._idle = asyncio.Event()
        self._idle.set()
        # The path and the tree of a long conversation are computed only once after each change.
        self._path: tuple[Run, ...] = ()
        self._answers: Mapping[Prompt | None, Run] = {}
        self._known: tuple[LaneRecord, int] | None = None
        self._following: dict[Run | None, list[Run]] = {}

    # State

    @property
    def path(self) -> tuple[Run, ...]:
        """The runs that the lane shows. Each run continues the run before; the last run may be in progress."""
        if (self._path[-1] if self._path else None) is not self.record.head:
            self._path = path_to(self.record.head)
            self._answers = {run.prompt: run for run in self._path}
        return self._path

    @property
    def is_busy(self) -> bool:
        return self.present is not None

    @property
    def last(self) -> Run | None:
        """The current run, else the last run of the open engine; None if this engine has not executed a run."""
        return self.present or (self.record.head if self._asked else None)

    @property
    def state(self) -> LaneState:
        run, engine = self.last, self.engine
        if self.present is not None and self.present.phase != "waiting":
            return _progress_of(self.present, is_local=self.engine.is_local)
        if engine.state == "opening":
            return "loading"
        if engine.state in ("stopped", "failed", "crashed"):
            return engine.state
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
        return self.engine.error or (self.last.error if self.last is not None else None)

    @property
    def last_answer(self) -> str:
        """The last answer on the path, without empty lines around it; empty if the path has no answer."""
        return next((run.text.strip("\r\n") for run in reversed(self.path) if run.text), "")

    def answer(self, prompt: Prompt | None) -> Run | None:
        return self._answers.get(prompt) if self.path else None

    # Runs

    def ask(self, prompt: Prompt, *, instead_of: Run | None = None, prefix: Prefix | None = None) -> Run:
        """Begin a run at the end of the path, or as a variant of the run `instead_of`. The answer begins with
        `prefix`. Must not be called while the lane is busy."""
        # Imported here so that the program starts faster.
        from paragone_workbench.runs.run import Run, RunSpec

        assert not self.is_busy
        self._asked = True
        self._describe()
        continues = self.record.head if instead_of is None else instead_of.continues
        seed = shared_seed(prompt, sum(run.prompt is prompt for run in self.record.all_runs))
        run = Run.of(self.record.definition, prompt=prompt, continues=continues, prefix=prefix)
        self.record.head = run
        self.record.runs.append(run)

        def spec() -> RunSpec:
            return RunSpec(
                messages=request_of(run),
                sampling=prompt.active_sampling,
                logprobs=self.logprobs(self.engine),
                drawn_seed=seed,
            )

        run.watchers.append(self._run_changed)
        self._idle.clear()
        self.present, self._warned = run, 0
        self._pool.execute(run, self.engine, spec)
        self.changed()
        return run

    def following(self, run: Run | None) -> Sequence[Run]:
        """Return the runs that continue `run`, oldest first; for None, the runs that begin the conversation."""
        known = self.record, len(self.record.runs)
        if self._known != known:
            self._known, self._following = known, {}
            for other in self.record.all_runs:
                self._following.setdefault(other.continues, []).append(other)
        return self._following.get(run, ())

    def variants(self, run: Run) -> tuple[Run, ...]:
        found = tuple(self.following(run.continues))
        # a damaged history may lack the run at which the lane was forked
        return found if run in found else (run, *found)

    def select(self, head: Run | None) -> None:
        """Make another run the end of the path. Must not be called while the lane is busy."""
        assert not self.is_busy
        self.record.head = head
        self._asked = False
        self.changed()

    def resume(self, record: LaneRecord) -> None:
        """Continue another saved lane with the same engine. Must not be called while the lane is busy."""
        assert not self.is_busy
        self.record = record
        self._asked = False
        self.changed()

    async def stop(self) -> None:
        if (run := self.present) is not None:
            run.stop()
            await run.ended()

    async def answered(self) -> None:
        """Wait until no run is in progress or waiting, and no further prompt follows."""
        await self._idle.wait()

    # The engine

    def open(self) -> None:
        """Start to open the engine, unless it is open or being opened, or the schedule opens engines for each run."""
        self._pool.start(self.engine)

    async def swap(self, definition: definitions.EngineDefinition, *, name: str = "") -> None:
        """Replace the engine and keep the path. Stops the current run; returns once the previous engine is closed."""
        self._cancel_waiting()
        self.name = name or definition.name
        await self._pool.replace(self.engine, definition)

    async def restart(self) -> None:
        await self.swap(self.engine.definition, name=self.name)

    async def close(self) -> None:
        self._cancel_waiting()
        await self._pool.remove(self.engine)

    def _describe(self) -> None:
        self.record.definition = definitions.without_secrets(self.engine.definition, self.engine.backend)

    def _cancel_waiting(self) -> None:
        if self.present is not None and self.present.phase == "waiting":
            self.present.stop()

    # Events of the lane's runs and engine

    def _run_changed(self, run: Run) -> None:
        """Report the change. Once the run has ended, let the session begin the next prompt."""
        if len(run.cautions) > self._warned:
            self.cautions += [(run, caution) for caution in run.cautions[self._warned :]]
            self._warned = len(run.cautions)
        if run.phase != "ended":
            self.changed()
            return
        self.present = None
        self.changed()
        self.when_free(self, run)
        if not self.is_busy:
            self._idle.set()

    def _engine_changed(self, engine: EngineTask) -> None:
        """Report the change. A newly opened engine has not executed any run yet."""
        self._describe()
        opens = engine.is_open and not self._was_open
        if (opens or engine.is_opening) and self.present is None:
            self._asked = False
        if opens and engine.loaded is not None:
            self.cautions += [(None, caution) for caution in engine.loaded.cautions]
        self._was_open = engine.is_open
        self.changed()

    def changed(self) -> None:
        self.on_change(self)


def _progress_of(run: Run, *, is_local: bool) -> LaneState:
    if run.phase == "decode":
        return "writing"
    unheard = run.silent_s > 0 and run.progress is None and not is_local
    return "queued" if run.phase == "queued" or unheard else "reading"


def shared_seed(prompt: Prompt, earlier: int) -> int:
    """Return the seed that all lanes use for their answer number `earlier` + 1 to a prompt, derived from the prompt's
    random id."""
    from hashlib import sha256  # imported here so that the program starts faster

    from paragone.shared_options import SEEDS

    return int.from_bytes(sha256(f"{prompt.id} {earlier}".encode()).digest()[:8], "big") % SEEDS
