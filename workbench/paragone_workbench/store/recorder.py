"""Keeps what happens in the lanes on disk, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from paragone import Channel
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import Lane, LaneListener
from paragone_workbench.runs.record import Prompt, Run
from paragone_workbench.store import EndState, SavedConversation, SavedLane, Store, StoreError

__all__ = ["Recording"]

EVERY = 0.5
"""Seconds after which text that came is on disk: a kill loses at most that."""


class Recording(LaneListener):
    """One conversation as the store has it.

    A store that fails is told of once; the session goes on without, and the next prompt tries it again.
    """

    def __init__(self, store: Store, on_problem: Callable[[StoreError], None]) -> None:
        self.conversation: int | None = None
        """The conversation's id, once it has a prompt."""
        self._lanes: dict[Lane, int] = {}
        self._position = 0
        self._last_prompt: int | None = None
        self._store = store
        self._on_problem = on_problem
        self._failed = False
        self._runs: dict[Run, int] = {}
        self._pending: dict[Run, dict[Channel, list[str]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def resumed(
        cls,
        store: Store,
        on_problem: Callable[[StoreError], None],
        saved: SavedConversation,
        lanes: Mapping[Lane, SavedLane],
    ) -> Recording:
        """Return the recording that goes on with a saved conversation, in the lanes that took up its own."""
        recording = cls(store, on_problem)
        recording.conversation = saved.id
        recording._lanes.update((lane, saved_lane.id) for lane, saved_lane in lanes.items())
        recording._position = max((lane.position + 1 for lane in saved.lanes), default=0)
        recording._last_prompt = saved.prompts[-1].id if saved.prompts else None
        return recording

    def add_prompt(self, prompt: Prompt, system: str) -> None:
        """Save a prompt; the first begins the conversation."""
        try:
            if self.conversation is None:
                self.conversation = self._store.new_conversation(system=system)
            self._last_prompt = prompt.saved = self._store.add_prompt(
                self.conversation, prompt.text, parent_id=self._last_prompt, images=prompt.images
            )
            self._failed = False
        except StoreError as error:
            self._fail(error)

    def place(self, lane: Lane) -> None:
        """Save that a lane is there, to the right of the others, once there is a conversation."""
        if self._failed or self.conversation is None or lane in self._lanes:
            return
        try:
            self._lanes[lane] = self._store.add_lane(
                self.conversation, lane.definition, position=self._position
            )
            self._position += 1
        except StoreError as error:
            self._fail(error)

    def swapped(self, lane: Lane, definition: EngineDefinition) -> None:
        """Save that a lane has another engine."""
        if not self._failed and lane in self._lanes:
            try:
                self._store.set_lane_engine(self._lanes[lane], definition)
            except StoreError as error:
                self._fail(error)

    def closed(self, lane: Lane) -> None:
        """Save that a lane was closed."""
        lane_id = self._lanes.pop(lane, None)
        if not self._failed and lane_id is not None:
            try:
                self._store.close_lane(lane_id)
            except StoreError as error:
                self._fail(error)

    def run_started(self, lane: Lane, run: Run) -> None:
        """Begin to save a run."""
        lane_id = self._lanes.get(lane)
        if self._failed or lane_id is None or run.prompt.saved is None:
            return
        try:
            self._runs[run] = self._store.start_run(
                prompt_id=run.prompt.saved, lane_id=lane_id, definition=lane.definition, manifest=run.manifest
            )
        except StoreError as error:
            self._fail(error)

    def text_came(self, lane: Lane, run: Run, channel: Channel, text: str) -> None:
        """Save text, with what else comes in the next half second."""
        if self._failed or run not in self._runs:
            return
        self._pending.setdefault(run, {"answer": [], "thinking": []})[channel].append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY, self._flush)

    def run_ended(self, lane: Lane, run: Run) -> None:
        """Save how a run ended; one that never started is saved with why."""
        if run not in self._runs and run.state == "failed":
            self.run_started(lane, run)
        self._flush()
        run_id = self._runs.pop(run, None)
        if run_id is None or self._failed:
            return
        state: EndState = "interrupted" if run.state == "running" else run.state
        try:
            self._store.end_run(
                run_id,
                state,
                finish=run.finish,
                error=str(run.error) if run.error else "",
                metrics=run.metrics,
            )
        except StoreError as error:
            self._fail(error)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending = self._pending, {}
        for run, pieces in pending.items():
            if self._failed:
                return
            try:
                self._store.append_run(
                    self._runs[run], text="".join(pieces["answer"]), thinking="".join(pieces["thinking"])
                )
            except StoreError as error:
                self._fail(error)

    def _fail(self, error: StoreError) -> None:
        if not self._failed:
            self._failed = True
            self._on_problem(error)
