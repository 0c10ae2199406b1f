"""A session: lanes side by side, and the conversation that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import Image, InputError, ParagoneError
from paragone_workbench.config.settings import Mode
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition, without_secrets
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.names import unique_name
from paragone_workbench.lanes.recording import Recording
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.scheduling.scheduler import Scheduler, cores_for_each
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.records import LaneRecord

if TYPE_CHECKING:
    from paragone_workbench.store.history import History
    from paragone_workbench.store.recorder import Recorder

__all__ = ["Session"]


class Session:
    """Gives prompts to lanes; each lane has its own answers, and its own path through the conversation.

    Used on the event loop. What an engine does wrong ends in its lane. What the history does wrong is
    told to `on_problem`; what is not saved yet is saved once the history works again.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        system: str = "",
        mode: Mode = "parallel",
        engines: Mapping[str, EngineDefinition] | None = None,
        on_problem: Callable[[StoreError], None] = lambda _: None,
        on_saved_again: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a session without lanes.

        `engines` are those that config.toml defines: a lane of an earlier conversation finds the secret
        options of its engine there, which the history does not have.
        """
        self.registry = registry
        self._engines = engines or {}
        self.scheduler = Scheduler(mode)
        self.lanes: list[Lane] = []
        self.conversation = Conversation()
        self.system = system
        """System prompt with which conversations begin."""
        self._recording = Recording(
            on_problem=on_problem, on_saved_again=on_saved_again, on_changed=self._show_lanes
        )
        self._positions = 0
        self._leaving: set[Lane] = set()
        self._opening: asyncio.Task[None] | None = None

    # Lanes

    def add_lane(self, definition: EngineDefinition) -> Lane:
        """Put a lane at the right and return it, its engine not opened yet."""
        lane = self._lane(definition, self.lanes)
        self.lanes.append(lane)
        if self._recorder is not None:
            self._recorder.lane_added(lane.record)
        return lane

    def open_engines(self) -> None:
        """Begin to open every engine that was not opened yet. Those that failed are for `restart`.

        Where one engine is in memory at a time, the runs open their engines themselves.
        """
        if self._opening is None or self._opening.done():
            if self.scheduler.mode == "auto":
                self._opening = asyncio.create_task(self._decide_and_open())
            else:
                self._open_all()

    async def opened(self) -> None:
        """Wait until no engine is being opened."""
        if self._opening is not None:
            await self._opening
        await asyncio.gather(*(lane.engine.opened() for lane in self.lanes))

    async def restart(self, lane: Lane) -> None:
        """Open a lane's engine anew."""
        await lane.restart(self._threads(), opens=not self.scheduler.opens_engines)

    async def swap(self, lane: Lane, definition: EngineDefinition) -> None:
        """Give a lane another engine; it goes on with the conversation."""
        others = [other for other in self.lanes if other is not lane]
        name = unique_name(definition, others, self.registry)
        if self._recorder is not None:
            self._recorder.lane_changed(lane.record)  # saved later, with the new engine
        await lane.swap(definition, self._threads(), name=name, opens=not self.scheduler.opens_engines)

    def configure(self, lane: Lane, definition: EngineDefinition) -> bool:
        """Set a lane's engine to other sampling options, from the next run on, without a reload.

        Returns False where the definition takes a reload: that is for `swap`. Raises InputError.
        """
        if not lane.engine.configure(definition):
            return False
        lane.record.definition = self._kept(definition)
        if self._recorder is not None:
            self._recorder.lane_changed(lane.record)
        return True

    async def close_lane(self, lane: Lane) -> None:
        """Close a lane and its engine; what it answered is kept."""
        if lane in self.lanes:
            self.lanes.remove(lane)
        lane.record.closed = True
        self._recording.lane_closed(lane.record)
        await self._let_go([lane])

    async def close(self) -> None:
        """Close every engine, and save what is left. What is being answered is kept as far as it came."""
        if self._opening is not None:
            self._opening.cancel()
        await asyncio.gather(*(lane.close() for lane in {*self.lanes, *self._leaving}))
        await self._recording.close(self.conversation)

    def _lane(
        self, definition: EngineDefinition, others: Sequence[Lane], record: LaneRecord | None = None
    ) -> Lane:
        if record is None:
            record = LaneRecord(definition=definition, position=self._positions)
            self._positions += 1
        name = unique_name(definition, others, self.registry)
        lane = Lane(
            definition, self.registry, name=name, turns=self.scheduler, record=record, kept=self._kept
        )
        self.scheduler.add(lane.engine)
        return lane

    def _kept(self, definition: EngineDefinition) -> EngineDefinition:
        """Return a definition as it may be saved: without secrets."""
        return without_secrets(definition, self.registry.find(definition.backend))

    def _whole(self, kept: EngineDefinition) -> EngineDefinition:
        """Return a definition that was saved with the secrets that config.toml has of that engine."""
        configured = self._engines.get(kept.name)
        return configured if configured is not None and self._kept(configured) == kept else kept

    async def _decide_and_open(self) -> None:
        await self.scheduler.decide_order()
        self._open_all()

    def _open_all(self) -> None:
        if not self.scheduler.opens_engines:
            for lane in self.lanes:
                if lane.engine.state == "closed":
                    lane.open(self._threads())

    def _threads(self) -> int:
        return cores_for_each(lane.engine for lane in self.lanes)

    async def _let_go(self, lanes: Sequence[Lane]) -> None:
        """Close the engines of lanes that are no longer there."""
        self._leaving.update(lanes)
        await asyncio.gather(*(lane.close() for lane in lanes))
        self._leaving.difference_update(lanes)

    # Prompts

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts of the conversation, in the order in which they were asked."""
        return self.conversation.prompts

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way or waits."""
        return any(lane.is_busy for lane in self.lanes)

    def can_answer(self, lane: Lane) -> bool:
        """Whether a lane's engine is open, is being opened, or is opened by its next run."""
        engine = lane.engine
        on_demand = self.scheduler.opens_engines and engine.state in ("closed", "open")
        deciding = self._opening is not None and not self._opening.done() and engine.state == "closed"
        return engine.is_open or engine.is_opening or on_demand or deciding

    def send(
        self,
        text: str,
        images: Sequence[Image] = (),
        *,
        lanes: Sequence[Lane] | None = None,
    ) -> Prompt:
        """Give a prompt to these lanes, by default to all, and return it.

        A lane that is busy answers it after the prompts before. One whose engine is gone is not asked.
        """
        asked = [lane for lane in (self.lanes if lanes is None else lanes) if self.can_answer(lane)]
        parent = self._parent(asked)
        prompt = self.conversation.add(
            Prompt(
                text=text,
                images=tuple(images),
                parent=parent,
                system=(self.system or None) if parent is None else None,
                for_all=lanes is None,
            )
        )
        for lane in self.lanes:
            lane.record.definition = self._kept(lane.engine.definition)
        if self._recorder is not None:
            self._recorder.prompt_added(prompt)
        for lane in asked:
            self._follow(lane, lane.ask(prompt))
        return prompt

    def regenerate(self, lane: Lane) -> RunRecord | None:
        """Have a lane answer the last prompt anew, beside its earlier answer, or for the first time.

        Only while it is not busy. Returns None where there is no prompt or no engine.
        """
        prompt = self._last_prompt(lane)
        if prompt is None or not self.can_answer(lane):
            return None
        run = lane.answer_again(prompt)
        self._follow(lane, run)
        return run

    def edit(self, prompt: Prompt, text: str, images: Sequence[Image] = ()) -> Prompt | None:
        """Ask another prompt in place of an earlier one, in the lanes that have it on their paths.

        The paths from the earlier prompt on are kept: `step` leads back to them. Only while those lanes
        are not busy. Returns None where none of them has an engine.
        """
        lanes = [lane for lane in self.lanes if lane.answer(prompt) is not None and self.can_answer(lane)]
        if not lanes:
            return None
        edited = self.conversation.add(
            Prompt(
                text=text,
                images=tuple(images),
                parent=prompt.parent,
                system=prompt.system,
                sampling=prompt.sampling,
                for_all=prompt.for_all,
            )
        )
        if self._recorder is not None:
            self._recorder.prompt_added(edited)
        for lane in lanes:
            self._follow(lane, lane.ask_instead(edited, prompt))
        return edited

    def step(self, lane: Lane, by: int) -> bool:
        """Show the next (1) or the previous (-1) variant at the last place of a path that has several.

        The lane goes on from the latest run that continues that variant. Only while it is not busy.
        Returns False where there are no variants.
        """
        place = next((run for run in reversed(lane.path) if len(lane.variants(run)) > 1), None)
        if place is None:
            return False
        variants = lane.variants(place)
        tip = variants[(variants.index(place) + by) % len(variants)]
        while later := [run for run in lane.record.runs if run.continues is tip]:
            tip = later[-1]
        self.select(lane, tip)
        return True

    def _last_prompt(self, lane: Lane) -> Prompt | None:
        """Return the prompt at the end of a lane's path, or a later one that it was meant to answer and did not."""
        head = lane.record.head.prompt if lane.record.head is not None else None
        asked = {run.prompt for run in lane.record.runs}
        later = [
            prompt
            for prompt in self.prompts
            if prompt.for_all and prompt not in asked and (head is None or head in prompt.with_ancestors())
        ]
        return later[-1] if later else head

    def select(self, lane: Lane, head: RunRecord) -> None:
        """Have a lane go on from another of its runs. Only while it is not busy."""
        lane.select(head)
        if self._recorder is not None:
            self._recorder.lane_changed(lane.record)

    async def stop(self) -> None:
        """End every run early."""
        await asyncio.gather(*(lane.stop() for lane in self.lanes))

    async def answered(self) -> None:
        """Wait until no run is under way."""
        await asyncio.gather(*(lane.answered() for lane in self.lanes))

    def _parent(self, lanes: Sequence[Lane]) -> Prompt | None:
        """Return the newest prompt on the paths of these lanes, which the next one follows."""
        heads = {lane.record.head.prompt for lane in lanes if lane.record.head is not None}
        return next((prompt for prompt in reversed(self.prompts) if prompt in heads), None)

    # The conversation

    def record(self, history: History) -> None:
        """Keep in this history what was asked so far, and what comes from now on."""
        self._recording.begin(self.conversation, self._records, history)

    def history_not_open(self, error: ParagoneError) -> None:
        """Show in the lanes that nothing is saved: the history could not be opened, or not yet."""
        self._recording.not_open(error)

    @property
    def history_problem(self) -> ParagoneError | None:
        """Why answers are not being saved at present; None when they are, or the history is being opened."""
        return self._recording.problem

    @property
    def awaits_history(self) -> bool:
        """Whether something was asked that can be saved only once the history is open."""
        return self._recording.keeps_unsaved(self.conversation)

    def new_conversation(self) -> None:
        """Begin anew with the same lanes. Only while no lane is busy."""
        self._recording.leave(self.conversation, self._records)
        self.conversation = Conversation()
        self._positions = 0
        for lane in self.lanes:
            lane.resume(LaneRecord(definition=lane.engine.definition, position=self._positions))
            self._positions += 1
        self._recording.begin(self.conversation, self._records)

    async def reopen(self, conversation_id: int) -> int:
        """Go on with an earlier conversation in its own lanes, once all that was said in it is saved.

        Lanes whose engines are the same stay as they are; the others' engines are closed, and what is
        new is not opened yet. Returns how many lanes of it were closed by the user: they stay away, and
        their answers are kept. Raises InputError where the conversation is gone or a lane is busy, and
        StoreError; then nothing was changed.
        """
        saved = None
        while saved is None:
            saved = await self._recording.load(conversation_id)
            if self.is_busy:  # a prompt was sent meanwhile
                raise InputError(
                    "The conversation was not reopened: an answer is being written.",
                    hint="Stop it or wait for its end, then reopen the conversation.",
                )
        left = self._records
        spare = list(self.lanes)
        lanes: list[Lane] = []
        for record in saved.lanes:
            if record.closed:
                continue
            lane = next((it for it in spare if self._kept(it.engine.definition) == record.definition), None)
            if lane is None:
                lane = self._lane(self._whole(record.definition), [*lanes, *spare], record)
            else:
                spare.remove(lane)
                lane.resume(record)
            lanes.append(lane)
        self._recording.leave(self.conversation, left)
        self.conversation = saved.conversation
        self._positions = 1 + max((record.position for record in saved.lanes), default=-1)
        self.lanes[:] = lanes
        self._recording.begin(self.conversation, self._records)
        await self._let_go(spare)
        return len(saved.lanes) - len(lanes)

    def _follow(self, lane: Lane, run: RunRecord) -> None:
        if self._recorder is not None:
            self._recorder.follow(run, lane.record)
            self._recorder.lane_changed(lane.record)

    @property
    def _recorder(self) -> Recorder | None:
        return self._recording.recorder

    @property
    def _records(self) -> list[LaneRecord]:
        return [lane.record for lane in self.lanes]

    def _show_lanes(self) -> None:
        for lane in self.lanes:
            lane.show()
