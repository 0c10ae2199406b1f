"""The queue: prompts that wait until their lanes are free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paragone_workbench.store.records import QueuedPrompt

if TYPE_CHECKING:
    from paragone import Image
    from paragone_workbench.conversation.tree import AttachedFile, Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import LaneRecord


class PromptQueue:
    """The prompts that wait, those that a lane has begun first. All lanes answer in the same order: before a new
    prompt, a lane begins the prompts that other lanes have begun, even kept ones."""

    def __init__(
        self,
        begin: Callable[[QueuedPrompt, Lane], None],
        can_answer: Callable[[Lane], bool],
        on_change: Callable[[], None],
    ) -> None:
        """`begin` makes a free lane answer a prompt; `can_answer` returns whether a lane's engine can answer."""
        self.prompts: list[QueuedPrompt] = []
        self._stopping: set[Lane] = set()
        """The lanes whose answers are being stopped. Prompts that waited for these lanes before the stop are already kept."""
        self._begin = begin
        self._can_answer = can_answer
        self._on_change = on_change

    def waiting(self, lane: Lane) -> int:
        return sum(lane.record in queued.lanes for queued in self.prompts)

    @property
    def kept(self) -> Sequence[QueuedPrompt]:
        return [queued for queued in self.prompts if queued.is_kept]

    def add(self, queued: QueuedPrompt, lanes: Sequence[Lane]) -> Prompt | None:
        """Let free lanes begin a prompt. It waits for busy lanes; without lanes, it is kept. Return it, or None if no
        lane began it."""
        self.prompts.append(queued)
        self._go_on(lanes)
        return queued.prompt

    def lane_is_free(self, lane: Lane, ended: Run) -> None:
        """Let a lane begin its next prompt. After a stop, or if the lane cannot answer, the prompts sent before the
        stop are kept."""
        is_cut = ended.state in ("stopped", "interrupted") and lane not in self._stopping
        self._stopping.discard(lane)
        if is_cut or not self._can_answer(lane):
            for queued in self.prompts:
                if lane.record in queued.lanes:
                    queued.kept_by.add(lane.record)
            self._on_change()
        else:
            self._go_on([lane])

    def lane_is_closed(self, lane: Lane) -> None:
        """Remove a closed lane from the queue. Prompts that waited only for this lane are kept."""
        for queued in self.prompts:
            if lane.record in queued.lanes:
                queued.lanes.remove(lane.record)
                queued.kept_by.discard(lane.record)
        self._stopping.discard(lane)
        self._on_change()

    def send_again(self, prompts: Iterable[QueuedPrompt], lanes: Sequence[Lane]) -> None:
        """Let lanes that can answer begin kept prompts again. A prompt whose lanes are closed goes to `lanes`."""
        for queued in list(prompts):
            meant = [lane for lane in lanes if lane.record in queued.lanes] or lanes
            if able := [lane.record for lane in meant if self._can_answer(lane)]:
                queued.lanes, queued.kept_by = able, set()
        self._go_on(lanes)

    def edit(
        self, queued: QueuedPrompt, text: str, images: tuple[Image, ...], files: tuple[AttachedFile, ...]
    ) -> None:
        assert queued.prompt is None
        queued.text, queued.images, queued.files = text, images, files
        self._on_change()

    def keep(self, prompts: Iterable[QueuedPrompt]) -> None:
        for queued in prompts:
            queued.kept_by = set(queued.lanes)
        self._on_change()

    def stop(self, lanes: Sequence[Lane]) -> None:
        """Keep the prompts that wait for these lanes. Call this before stopping the lanes: an answer may end during
        the stop."""
        for queued in self.prompts:
            queued.kept_by.update(lane.record for lane in lanes if lane.record in queued.lanes)
        self._stopping.update(lane for lane in lanes if lane.is_busy)
        self._on_change()

    def remove(self, queued: QueuedPrompt) -> None:
        """Remove a prompt. Lanes that have begun the prompt continue their answers."""
        self.prompts = [other for other in self.prompts if other is not queued]
        self._on_change()

    def snapshot(self) -> tuple[QueuedPrompt, ...]:
        """Return copies of the prompts, for the history's thread and for comparisons."""
        return tuple(replace(queued, lanes=[*queued.lanes]) for queued in self.prompts)

    def restore(self, saved: Iterable[QueuedPrompt], lanes: Iterable[Lane]) -> None:
        """Restore the saved queue of a conversation with these open lanes. All queued prompts are kept."""
        shown = {lane.record for lane in lanes}
        self.prompts = [
            replace(queued, lanes=[lane for lane in queued.lanes if lane in shown]) for queued in saved
        ]
        self.keep(self.prompts)

    def _go_on(self, lanes: Iterable[Lane]) -> None:
        for lane in list(lanes):
            queued = self._following(lane.record)
            if queued is None or lane.is_busy:
                continue
            if not self._can_answer(lane):
                queued.kept_by.add(lane.record)
                continue
            self._begin(queued, lane)
            queued.lanes.remove(lane.record)
            queued.kept_by.discard(lane.record)
            if not queued.lanes:
                self.prompts = [other for other in self.prompts if other is not queued]
            self.prompts.sort(key=lambda waiting: waiting.prompt is None)
        self._on_change()

    def _following(self, lane: LaneRecord) -> QueuedPrompt | None:
        """Return the prompt that a lane begins next; None if no prompt waits for the lane, or all waiting prompts are kept."""
        waiting = [queued for queued in self.prompts if lane in queued.lanes]
        if all(lane in queued.kept_by for queued in waiting):
            return None
        return next(queued for queued in waiting if queued.prompt is not None or lane not in queued.kept_by)
