"""A session: the lanes there are, and the conversation that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from paragone import Image, InputError, Message
from paragone.cores import physical_cores
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.names import name_beside
from paragone_workbench.runs.record import Prompt, Run
from paragone_workbench.store import SavedLane, Store, StoreError
from paragone_workbench.store.recorder import Recording

__all__ = ["MAX_LANES", "Mode", "Session"]

Mode: TypeAlias = Literal["parallel", "sequential"]
"""All lanes answer at once and share the cores, or one after the other with all of them."""

MAX_LANES = 6


class Session:
    """One prompt goes to every lane; each lane has its own answers, and its own view of the conversation.

    Used on the event loop. What an engine does wrong ends in its lane; what the store does wrong is
    told to `on_problem` and costs the history, not the session.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        system: str = "",
        mode: Mode = "parallel",
        on_problem: Callable[[StoreError], None] = lambda _: None,
    ) -> None:
        self.registry = registry
        self.system = system
        self.mode: Mode = mode
        self.lanes: list[Lane] = []
        self.prompts: list[Prompt] = []
        self._new_system = system
        self._on_problem = on_problem
        self._store: Store | None = None
        self._recording: Recording | None = None
        self._turn = asyncio.Lock()
        self._leaving: set[Lane] = set()

    # Lanes

    def add_lane(self, definition: EngineDefinition) -> Lane:
        """Put a lane at the right and return it, its engine not opened yet. Raises InputError when there are six."""
        if len(self.lanes) >= MAX_LANES:
            raise InputError(f"There are {MAX_LANES} lanes already.", hint="Close one first.")
        lane = Lane(definition, self.registry, name=name_beside(definition, self.lanes))
        self.lanes.append(lane)
        if self._recording is not None:
            lane.listeners.append(self._recording)
            self._place_lanes()
        return lane

    def open_engines(self) -> None:
        """Begin to open every engine that was not opened yet. Those that failed are for `restart`."""
        for lane in self.lanes:
            if lane.state == "empty":
                lane.open(self._share(self.lanes))

    async def restart(self, lane: Lane) -> None:
        """Open a lane's engine anew."""
        await lane.restart(self._share(self.lanes))

    async def swap(self, lane: Lane, definition: EngineDefinition) -> None:
        """Give a lane another engine; it goes on with the conversation."""
        if self._recording is not None:
            self._recording.swapped(lane, definition)
        others = [other for other in self.lanes if other is not lane]
        name = name_beside(definition, others)
        await lane.swap(definition, self._share(self.lanes), name=name)

    async def close_lane(self, lane: Lane) -> None:
        """Close a lane and free its engine."""
        if lane in self.lanes:
            self.lanes.remove(lane)
        if self._recording is not None:
            self._recording.closed(lane)
        await self._let_go([lane])

    async def close(self) -> None:
        """Free every engine. What is being answered is kept as far as it came."""
        await asyncio.gather(*(lane.close() for lane in {*self.lanes, *self._leaving}))

    async def _let_go(self, lanes: Sequence[Lane]) -> None:
        """Free the engines of lanes that are no longer there."""
        self._leaving.update(lanes)
        await asyncio.gather(*(lane.close() for lane in lanes))
        self._leaving.difference_update(lanes)

    # Prompts

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way or waiting."""
        return any(lane.is_busy for lane in self.lanes)

    def send(self, text: str, images: Sequence[Image] = ()) -> None:
        """Give every lane a prompt. Only while no lane is busy.

        A lane whose engine is gone is not asked; one whose engine is being opened answers once it is.
        """
        assert not self.is_busy  # its caller has seen to it
        prompt = Prompt(text=text, images=tuple(images))
        self.prompts.append(prompt)
        if self._recording is not None:
            self._recording.add_prompt(prompt, self.system)
            self._place_lanes()
        for lane in self.lanes:
            if lane.is_open or lane.is_opening:
                self._ask(lane, prompt)

    def regenerate(self, lane: Lane) -> Run | None:
        """Have a lane answer the last prompt anew, or for the first time. Only while it is not busy."""
        if not self.prompts or not (lane.is_open or lane.is_opening):
            return None
        return self._ask(lane, self.prompts[-1])

    async def stop(self) -> None:
        """End every run early."""
        await asyncio.gather(*(lane.stop() for lane in self.lanes))

    async def answered(self) -> None:
        """Wait until no run is under way."""
        await asyncio.gather(*(lane.answered() for lane in self.lanes))

    def messages(self, lane: Lane, prompt: Prompt) -> tuple[Message, ...]:
        """Return the conversation as a lane's engine is asked to go on with it.

        Prompts that the lane has no answer to are left out: it was added later, or it failed.
        """
        messages = [Message(role="system", text=self.system)] if self.system else []
        for earlier in self.prompts[: self.prompts.index(prompt)]:
            run = lane.runs.get(earlier)
            if run is not None and run.text:
                messages.append(Message(role="user", text=earlier.text, images=earlier.images))
                messages.append(Message(role="assistant", text=run.text, thinking=run.thinking))
        return (*messages, Message(role="user", text=prompt.text, images=prompt.images))

    def _ask(self, lane: Lane, prompt: Prompt) -> Run:
        sequential = self.mode == "sequential"
        return lane.ask(
            prompt,
            self.messages(lane, prompt),
            threads=lambda: self._share([lane] if sequential else [it for it in self.lanes if it.is_busy]),
            turn=self._turn if sequential else None,
        )

    def _share(self, lanes: list[Lane]) -> int:
        """Return how many CPU threads each of these lanes may use: engines spin where others compute."""
        return max(1, physical_cores() // max(1, sum(lane.is_local for lane in lanes)))

    # The conversation on disk

    @property
    def conversation(self) -> int | None:
        """The conversation's id in the store, once it has a prompt."""
        return self._recording.conversation if self._recording is not None else None

    def record(self, store: Store) -> None:
        """Keep the conversation in this store from now on."""
        self._store = store
        self._start_recording(Recording(store, self._on_problem))

    def new_conversation(self) -> None:
        """Begin anew with the same lanes. Only while no lane is busy."""
        self.prompts.clear()
        self.system = self._new_system
        for lane in self.lanes:
            lane.take_up({})
        if self._store is not None:
            self._stop_recording()
            self._start_recording(Recording(self._store, self._on_problem))

    async def reopen(self, conversation_id: int) -> int:
        """Go on with an earlier conversation in its own lanes. Only while no lane is busy.

        Lanes whose engines are the same stay as they are; the others' engines are freed, and what is
        new is not opened yet. Returns how many lanes of it stay away, since they were closed; their
        answers are kept. Raises InputError where the conversation is gone, and StoreError.
        """
        assert self._store is not None  # nothing can be reopened without
        saved = self._store.load(conversation_id)
        spare = list(self.lanes)
        lanes: dict[Lane, SavedLane] = {}
        for saved_lane in [lane for lane in saved.lanes if not lane.closed][:MAX_LANES]:
            lane = next((it for it in spare if it.definition == saved_lane.definition), None)
            if lane is None:
                name = name_beside(saved_lane.definition, [*lanes, *spare])
                lane = Lane(saved_lane.definition, self.registry, name=name)
            else:
                spare.remove(lane)
            lanes[lane] = saved_lane
        self._stop_recording()
        self.system = saved.system
        by_id = {
            prompt.id: Prompt(text=prompt.text, images=prompt.images, saved=prompt.id)
            for prompt in saved.prompts
        }
        self.prompts[:] = by_id.values()
        self.lanes[:] = lanes
        for lane, saved_lane in lanes.items():
            turns = ((by_id[turn.prompt.id], turn.run) for turn in saved_lane.turns)
            lane.take_up({prompt: Run.restored(prompt, run) for prompt, run in turns if run is not None})
        self._start_recording(Recording.resumed(self._store, self._on_problem, saved, lanes))
        await self._let_go(spare)
        return len(saved.lanes) - len(lanes)

    def _start_recording(self, recording: Recording) -> None:
        self._recording = recording
        for lane in self.lanes:
            lane.listeners.append(recording)
        self._place_lanes()

    def _stop_recording(self) -> None:
        for lane in self.lanes:
            if self._recording in lane.listeners:
                lane.listeners.remove(self._recording)
        self._recording = None

    def _place_lanes(self) -> None:
        if self._recording is not None:
            for lane in self.lanes:
                self._recording.place(lane)
