"""A session: lanes side by side, and the conversation that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_workbench.conversation.tree import Conversation, Prompt, SystemPrompt, with_sections
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.lanes import reopening
from paragone_workbench.lanes.lane import Lane, unique_name
from paragone_workbench.lanes.queue import PromptQueue
from paragone_workbench.lanes.variants import neighbour, prompt_to_answer_again
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.store import errors, records, saving

if TYPE_CHECKING:
    from paragone import Image
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.conversation.tree import AttachedFile
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.runs.result import Prefix, RunResult
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import Hit


def continue_run(session: Session, lane: Lane, run: Run | None = None) -> Run:
    """Let a lane continue an unfinished answer, by default its last. Raises InputError if it is complete or has no text."""
    from paragone_workbench.runs.result import Prefix  # imported here so that the program starts faster

    run = run or lane.record.head
    if run is None or not (run.text or run.thinking):
        raise InputError(f"{lane.name} has no answer to continue.")
    if not is_unfinished(run.result):
        raise InputError(f"The answer of {lane.name} is complete: the model ended it.")
    same_model = run.result.definition.has_model_of(lane.engine.definition)
    return continue_prefix(session, lane, run, Prefix.of_answer(run.result, same_model=same_model))


def continue_prefix(session: Session, lane: Lane, run: Run, prefix: Prefix) -> Run:
    """Let a lane that is free continue a prefix of one of its answers as a variant. Raises InputError if its engine cannot."""
    if not session.can_answer(lane):
        raise InputError(f"The engine of {lane.name} is not running.")
    if not lane.engine.capabilities.continues:
        raise InputError(
            f"The engine of {lane.name} cannot continue an answer: the engine would begin a new one.",
            hint="Change the engine, or let it answer the prompt again.",
        )
    assert run.prompt is not None
    again = lane.ask(run.prompt, instead_of=run, prefix=prefix)
    session.follow(lane, again)
    return again


def is_unfinished(answer: RunResult) -> bool:
    """Return whether an answer has text, but was cut, stopped or interrupted, or failed."""
    has_text = bool(answer.text or answer.thinking)
    return has_text and answer.state != "running" and answer.finish != "stop"


ALTERNATIVES = 5
"""Number of alternatives that are kept with each token."""


class Session:
    """Sends prompts to lanes, each with its own path through the conversation. `on_problem` receives the errors of
    the history, which continues to save after a repair."""

    def __init__(
        self,
        registry: Registry,
        *,
        system: str = "",
        mode: Mode = "parallel",
        engines: Mapping[str, EngineDefinition] | None = None,
        on_problem: Callable[[errors.StoreError], None] = lambda _: None,
        on_saved_again: Callable[[], None] = lambda: None,
    ) -> None:
        """`engines` are the engines of config.toml, which have the secrets that the history lacks."""
        self.registry = registry
        self.pool = EnginePool(registry, mode=mode)
        self._engines = engines or {}
        self.lanes: list[Lane] = []
        self.conversation = Conversation()
        self.system_prompt = SystemPrompt(system)
        self.wants_tokens = False
        """Whether all lanes keep the tokens of their answers besides the text; if not, `_logprobs` decides."""
        self._saved_queue: tuple[records.QueuedPrompt, ...] = ()
        self.changed: set[Lane] = set()
        """The lanes that have changed since the screen last read their state and emptied this set."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after lanes are added to `changed`, and after each change of the queue."""
        self.recorder = saving.Recorder(
            on_problem=on_problem, on_saved_again=on_saved_again, on_changed=self._all_changed
        )
        """Saves the conversation in the history, once `Recorder.open` was called."""
        self.queue = PromptQueue(self._begin, self.can_answer, self._queue_changed)
        """The prompts that wait for busy lanes, and prompts that a stop has kept."""
        self._positions = 0
        self._opening: asyncio.Task[None] | None = None

    def add_lane(self, definition: EngineDefinition, *, fork: Run | None = None) -> Lane:
        """Add a lane at the right, with a closed engine and the path up to the run `fork` of another lane."""
        lane = self._lane(definition, self.lanes, fork=fork)
        self.lanes.append(lane)
        self.recorder.lane_changed(self.conversation, lane.record)
        return lane

    def open_engines(self) -> None:
        """Start to open all closed engines, unless the schedule opens engines for each run. Only `Lane.restart`
        reopens failed engines."""
        if self.pool.mode == "auto":
            self.open_engines_soon()
        elif self._opening is None or self._opening.done():
            self.pool.start_all()

    def open_engines_soon(self) -> None:
        """Start to open all closed engines once a thread has imported their backends. Prompts sent meanwhile wait."""
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self.pool.open_all())

    async def opened(self) -> None:
        if self._opening is not None:
            await self._opening
        await asyncio.gather(*(lane.engine.opened() for lane in self.lanes))

    async def swap(self, lane: Lane, definition: EngineDefinition) -> None:
        name = unique_name(definition, (other for other in self.lanes if other is not lane), self.registry)
        self.recorder.lane_changed(self.conversation, lane.record)  # is saved with the new engine
        await lane.swap(definition, name=name)

    async def configure(self, lane: Lane, definition: EngineDefinition) -> None:
        """Give a lane's engine another name or options; load options reload the model. Raises InputError."""
        is_renamed = definition.name != lane.engine.definition.name
        if not lane.engine.configure(definition):
            await self.swap(lane, definition)
            return
        if is_renamed:
            others = (other for other in self.lanes if other is not lane)
            lane.name = unique_name(definition, others, self.registry)
        self.recorder.lane_changed(self.conversation, lane.record)

    async def close_lane(self, lane: Lane) -> None:
        if lane in self.lanes:
            self.lanes.remove(lane)
        lane.record.closed = True
        self.recorder.lane_changed(self.conversation, lane.record)
        self.queue.lane_is_closed(lane)
        await lane.close()

    async def close(self, *, waits: bool = True) -> None:
        """Close the engines, and save the rest; see `Recorder.close`."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await asyncio.gather(*(lane.close() for lane in self.lanes), self.pool.close())
        await self.recorder.close(waits=waits)

    def _lane(
        self,
        definition: EngineDefinition,
        others: Sequence[Lane],
        record: records.LaneRecord | None = None,
        fork: Run | None = None,
    ) -> Lane:
        if record is None:
            record = records.LaneRecord(definition=definition, position=self._positions, head=fork, fork=fork)
            self._positions += 1
        name = unique_name(definition, others, self.registry)
        lane = Lane(definition, self.pool, name=name, record=record)
        lane.logprobs = self._logprobs
        lane.when_free = self.queue.lane_is_free
        lane.on_change = self._lane_changed
        return lane

    def _logprobs(self, engine: EngineTask) -> int | None:
        """Return how many alternatives a run requests for each token; None to keep no tokens. A token's alternatives
        cost 0.1 ms on this machine. At a server they cost more, so only `wants_tokens` requests them."""
        kept = self.wants_tokens or (engine.is_local and len(self.lanes) > 1)
        return ALTERNATIVES if kept and engine.capabilities.logprobs else None

    @property
    def backends(self) -> Sequence[str]:
        return [lane.engine.definition.backend for lane in self.lanes]

    @property
    def prompts(self) -> list[Prompt]:
        return self.conversation.prompts

    @property
    def is_busy(self) -> bool:
        return any(lane.is_busy for lane in self.lanes)

    def can_answer(self, lane: Lane) -> bool:
        """Whether a lane's engine is open, being opened, or will be opened by its next run."""
        engine = lane.engine
        on_demand = self.pool.opens_engines and engine.state in ("closed", "ready", "running")
        deciding = self._opening is not None and not self._opening.done() and engine.state == "closed"
        return engine.is_open or engine.is_opening or on_demand or deciding

    def send(
        self,
        text: str,
        images: Sequence[Image] = (),
        *,
        files: Sequence[AttachedFile] = (),
        lanes: Sequence[Lane] | None = None,
    ) -> Prompt | None:
        """Send a prompt to those of `lanes`, by default all, that can answer. Busy lanes queue it. Returns None if no
        lane has begun it."""
        asked = [lane for lane in (self.lanes if lanes is None else lanes) if self.can_answer(lane)]
        return self.queue.add(
            records.QueuedPrompt(
                text=text,
                files=tuple(files),
                images=tuple(images),
                for_all=lanes is None,
                lanes=[lane.record for lane in asked],
            ),
            asked,
        )

    def send_again(self, prompts: Iterable[records.QueuedPrompt]) -> None:
        """Send again the prompts that a stop has kept in the queue; see `PromptQueue.send_again`."""
        self.queue.send_again(prompts, self.lanes)

    def _begin(self, queued: records.QueuedPrompt, lane: Lane) -> None:
        if queued.prompt is None:
            parent = self._parent(queued.lanes)
            queued.prompt = Prompt(
                text=with_sections(queued.text, queued.files),
                files=queued.files,
                images=queued.images,
                parent=parent,
                system=self.system_prompt.of_new_prompt(parent),
                for_all=queued.for_all,
            )
            self.recorder.prompt_added(self.conversation, self.conversation.add(queued.prompt))
        self.follow(lane, lane.ask(queued.prompt))

    def _queue_changed(self) -> None:
        queue = self.queue.snapshot()
        if queue != self._saved_queue:
            self._saved_queue = queue
            self.recorder.queue_changed(self.conversation, queue)
        self._all_changed()

    def regenerate(self, lane: Lane, prompt: Prompt | None = None) -> Run | None:
        """Let a free lane answer a prompt of its path again, by default the last. The answer is a variant. Returns
        None if the lane cannot."""
        if prompt is None:
            prompt = prompt_to_answer_again(lane, self.prompts)
        if prompt is None or not self.can_answer(lane):
            return None
        run = lane.ask(prompt, instead_of=lane.answer(prompt))
        self.follow(lane, run)
        return run

    def edit(
        self,
        prompt: Prompt,
        text: str,
        images: Sequence[Image] = (),
        *,
        files: Sequence[AttachedFile] = (),
    ) -> Prompt | None:
        """Replace a prompt in the free lanes that have it on their paths. The old turns stay as a variant. Returns
        None if no lane can answer."""
        lanes = [lane for lane in self.lanes if lane.answer(prompt) is not None and self.can_answer(lane)]
        if not lanes:
            return None
        edited = Prompt(
            text=with_sections(text, files),
            files=tuple(files),
            images=tuple(images),
            parent=prompt.parent,
            system=self.system_prompt.of_edited_prompt(prompt),
            sampling=prompt.sampling,
            for_all=prompt.for_all,
        )
        self.recorder.prompt_added(self.conversation, self.conversation.add(edited))
        for lane in lanes:
            self.follow(lane, lane.ask(edited, instead_of=lane.answer(prompt)))
        return edited

    def show_variant(self, lane: Lane, offset: int, shown: Run | None = None) -> bool:
        """Show the next (1) or previous (-1) variant in a free lane; see `variants.neighbour`. Returns False if there
        is none."""
        tip = neighbour(lane, offset, shown)
        if tip is None:
            return False
        self.select(lane, tip)
        return True

    def select(self, lane: Lane, head: Run) -> None:
        """Make another of a lane's runs the end of its path. Must not be called while the lane is busy."""
        lane.select(head)
        self.recorder.lane_changed(self.conversation, lane.record)

    async def stop(self, lanes: Sequence[Lane] | None = None) -> None:
        """Stop the current runs of these lanes, or of all lanes. Prompts that wait for the lanes are kept in the queue."""
        lanes = self.lanes if lanes is None else lanes
        self.queue.stop(lanes)
        await asyncio.gather(*(lane.stop() for lane in lanes))

    @property
    def is_opening(self) -> bool:
        return any(lane.engine.is_opening for lane in self.lanes)

    def stop_opening(self) -> None:
        """Stop opening engines. Engines that are open already stay open."""
        for lane in self.lanes:
            lane.engine.stop_opening()

    async def answered(self) -> None:
        await asyncio.gather(*(lane.answered() for lane in self.lanes))

    def _parent(self, lanes: Iterable[records.LaneRecord]) -> Prompt | None:
        """Return the parent of the next prompt: the newest of the last prompts on the paths of these lanes."""
        heads = {lane.head.prompt for lane in lanes if lane.head is not None}
        return next((prompt for prompt in reversed(self.prompts) if prompt in heads), None)

    async def saved(self) -> None:
        """Wait until the conversation so far is saved. Raises StoreError if saving is impossible now."""
        problem = await self.recorder.saved(self.conversation)
        if problem is not None:
            raise errors.StoreError(
                f"The conversation is not saved yet. {problem.message}",
                hint="Try again once the history works.",
                can_pass=True,
            )

    def new_conversation(self) -> None:
        """Start a new conversation with the same lanes and the same system prompt. Must not be called while a lane is busy."""
        self.recorder.left(self.conversation)
        self.system_prompt.begin_after(self._parent(lane.record for lane in self.lanes))
        self.conversation = Conversation()
        self._positions = len(self.lanes)
        for position, lane in enumerate(self.lanes):
            lane.resume(records.LaneRecord(definition=lane.engine.definition, position=position))
            self.recorder.lane_changed(self.conversation, lane.record)
        self._restore_queue(())

    def _restore_queue(self, saved: tuple[records.QueuedPrompt, ...]) -> None:
        self._saved_queue = saved
        self.queue.restore(saved, self.lanes)

    async def reopen(
        self, number: int, *, hit: Hit | None = None, only_with_same_engines: bool = False
    ) -> tuple[int, Lane | None] | None:
        """Continue an earlier conversation in its lanes, once its last changes are saved.

        Current lanes with its engines are reused, unless their options need a reload; the others are closed. New engines
        stay closed. A closed lane with the search result `hit` is shown. Returns the number of lanes that stay closed, and
        the lane with `hit` if it was closed. With `only_with_same_engines`, changes nothing and returns None if a prompt
        was sent or the engines differ. Raises StoreError; InputError if the conversation was deleted or a lane is busy.
        """
        saved = None
        while saved is None:
            saved = await self.recorder.load(number)
            if only_with_same_engines and saved is not None:
                same = reopening.has_same_engines(self.lanes, saved.lanes, self.registry, self._engines)
                if self.prompts or not same:
                    return None
            if self.is_busy:  # a prompt was sent during the load
                raise InputError(
                    "The conversation was not reopened: an answer is being written.",
                    hint="Stop it or wait for its end, then reopen the conversation.",
                )
        with_hit = None if hit is None else reopening.closed_lane_with(saved.lanes, hit)
        if with_hit is not None:
            with_hit.closed = False
        lanes, spare = reopening.lanes_of(saved.lanes, self.lanes, self.registry, self._engines, self._lane)
        self.recorder.left(self.conversation)
        self.conversation = saved.conversation
        self.recorder.loaded(saved)
        if with_hit is not None:
            self.recorder.lane_changed(saved.conversation, with_hit)
        self._positions = 1 + max((record.position for record in saved.lanes), default=-1)
        self.lanes[:] = lanes
        self.system_prompt.reopen_after(self._parent(lane.record for lane in lanes))
        self._restore_queue(reopening.queued_prompts_of(saved))
        await asyncio.gather(*(lane.close() for lane in spare))
        shown_again = next((lane for lane in lanes if lane.record is with_hit), None)
        return len(saved.lanes) - len(lanes), shown_again

    def follow(self, lane: Lane, run: Run) -> None:
        self.recorder.follow(self.conversation, run, lane.record)

    def _all_changed(self) -> None:
        self.changed.update(self.lanes)
        self.on_change()

    def _lane_changed(self, lane: Lane) -> None:
        self.changed.add(lane)
        self.on_change()
