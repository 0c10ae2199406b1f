"""The queue: prompts that wait until their lanes are free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone_workbench.store.records import QueuedRecord

if TYPE_CHECKING:
    from paragone import Image
    from paragone_workbench.conversation.attachments.attached_file import AttachedFile
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


@dataclass(slots=True, kw_only=True, eq=False)
class QueuedPrompt:
    """A prompt that still waits for at least one lane."""

    text: str
    """The text that the user wrote, without the attached files."""
    files: tuple[AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()
    for_all: bool = True
    """Whether the prompt was sent to all lanes."""
    lanes: list[Lane]
    """The lanes that have not begun the prompt."""
    prompt: Prompt | None = None
    """The prompt in the conversation; None until a lane has begun the prompt, after which `text` no longer changes."""
    kept_by: set[Lane] = field(default_factory=set)
    """The lanes that do not begin the prompt until the user sends it again, such as lanes that were stopped."""

    @property
    def is_kept(self) -> bool:
        """Whether the prompt waits until the user sends it again, for at least one lane or because no lane is left."""
        return not self.lanes or bool(self.kept_by)

    def keep(self) -> None:
        """Keep all lanes from beginning the prompt until the user sends it again."""
        self.kept_by = set(self.lanes)


class PromptQueue:
    """The prompts that wait. Prompts that a lane has begun come first, then the others in the order in which they were sent.

    A free lane begins its first prompt that is not kept. Before this prompt, the lane begins kept prompts that other lanes
    have already begun, so that all lanes answer in the same order.
    """

    def __init__(
        self,
        begin: Callable[[QueuedPrompt, Lane], None],
        can_answer: Callable[[Lane], bool],
        on_change: Callable[[], None],
    ) -> None:
        """Create an empty queue.

        `begin` makes a free lane answer a prompt, `can_answer` returns whether a lane's engine can answer, and `on_change`
        is called after each change of the queue.
        """
        self.prompts: list[QueuedPrompt] = []
        self._stopping: set[Lane] = set()
        """The lanes whose answers are being stopped. Prompts that waited for these lanes before the stop are already kept."""
        self._begin = begin
        self._can_answer = can_answer
        self._on_change = on_change

    def waiting(self, lane: Lane) -> int:
        """Return the number of prompts that wait for a lane."""
        return sum(lane in queued.lanes for queued in self.prompts)

    @property
    def kept(self) -> Sequence[QueuedPrompt]:
        """The prompts that wait until the user sends them again."""
        return [queued for queued in self.prompts if queued.is_kept]

    def add(self, queued: QueuedPrompt) -> Prompt | None:
        """Let the free lanes begin a prompt, and return the conversation's prompt; None if no lane has begun the prompt.

        The prompt waits for the busy lanes. Without lanes, the prompt is kept until the user sends it again.
        """
        self.prompts.append(queued)
        self._go_on(queued.lanes)
        return queued.prompt

    def lane_is_free(self, lane: Lane, ended: Run) -> None:
        """Let a lane begin its next prompt, after a run has ended.

        If the run was stopped, or the lane cannot answer, the lane keeps its prompts, and other lanes continue. Prompts
        that were sent after `stop` follow the stopped answer.
        """
        is_cut = ended.state in ("stopped", "interrupted") and lane not in self._stopping
        self._stopping.discard(lane)
        if is_cut or not self._can_answer(lane):
            for queued in self.prompts:
                if lane in queued.lanes:
                    queued.kept_by.add(lane)
            self._on_change()
        else:
            self._go_on([lane])

    def lane_is_closed(self, lane: Lane) -> None:
        """Remove a closed lane from the queue. Prompts that waited only for this lane are kept."""
        for queued in self.prompts:
            if lane in queued.lanes:
                queued.lanes.remove(lane)
                queued.kept_by.discard(lane)
        self._stopping.discard(lane)
        self._on_change()

    def send_again(self, prompts: Iterable[QueuedPrompt], lanes: Sequence[Lane]) -> None:
        """Let lanes begin kept prompts again. A prompt whose lanes are closed goes to `lanes`.

        Lanes that cannot answer are skipped. If no lane can answer, the prompt stays kept.
        """
        for queued in list(prompts):
            meant = [lane for lane in queued.lanes if lane in lanes] or lanes
            if able := [lane for lane in meant if self._can_answer(lane)]:
                queued.lanes, queued.kept_by = able, set()
        self._go_on(lanes)

    def edit(
        self, queued: QueuedPrompt, text: str, images: tuple[Image, ...], files: tuple[AttachedFile, ...]
    ) -> None:
        """Replace the text, the images and the files of a prompt that no lane has begun."""
        assert queued.prompt is None
        queued.text, queued.images, queued.files = text, images, files
        self._on_change()

    def keep(self, prompts: Iterable[QueuedPrompt]) -> None:
        """Keep prompts until the user sends them again."""
        for queued in prompts:
            queued.keep()
        self._on_change()

    def stop(self, lanes: Sequence[Lane]) -> None:
        """Keep the prompts that wait for these lanes. Call this before stopping the lanes, because an answer may end meanwhile."""
        for queued in self.prompts:
            queued.kept_by.update(lane for lane in queued.lanes if lane in lanes)
        self._stopping.update(lane for lane in lanes if lane.is_busy)
        self._on_change()

    def withdraw(self, queued: QueuedPrompt) -> None:
        """Remove a prompt. Lanes that have begun the prompt continue their answers."""
        if queued in self.prompts:
            self.prompts.remove(queued)
            self._on_change()

    @property
    def records(self) -> tuple[QueuedRecord, ...]:
        """The prompts in the form in which the history saves them."""
        return tuple(
            QueuedRecord(
                text=queued.text,
                files=queued.files,
                images=queued.images,
                for_all=queued.for_all,
                lanes=tuple(lane.record.id for lane in queued.lanes),
                prompt_id=None if queued.prompt is None else queued.prompt.id,
            )
            for queued in self.prompts
        )

    def restore(
        self, records: Iterable[QueuedRecord], lanes: Sequence[Lane], prompts: Iterable[Prompt]
    ) -> None:
        """Restore the saved queue of a conversation with these lanes and prompts. All queued prompts are kept."""
        known = {prompt.id: prompt for prompt in prompts}
        self.prompts = [
            QueuedPrompt(
                text=record.text,
                files=record.files,
                images=record.images,
                for_all=record.for_all,
                lanes=[lane for lane in lanes if lane.record.id in record.lanes],
                prompt=known.get(record.prompt_id or ""),
            )
            for record in records
        ]
        self.keep(self.prompts)

    def _go_on(self, lanes: Iterable[Lane]) -> None:
        """Let free lanes begin their next prompts."""
        for lane in list(lanes):
            queued = self._following(lane)
            if queued is None or lane.is_busy:
                continue
            if not self._can_answer(lane):
                queued.kept_by.add(lane)
                continue
            self._begin(queued, lane)
            queued.lanes.remove(lane)
            queued.kept_by.discard(lane)
            if not queued.lanes:
                self.prompts.remove(queued)
            self.prompts.sort(key=lambda waiting: waiting.prompt is None)
        self._on_change()

    def _following(self, lane: Lane) -> QueuedPrompt | None:
        """Return the prompt that a lane begins next; None if no prompt waits for the lane, or all that wait are kept."""
        waiting = [queued for queued in self.prompts if lane in queued.lanes]
        if all(lane in queued.kept_by for queued in waiting):
            return None
        return next(queued for queued in waiting if queued.prompt is not None or lane not in queued.kept_by)
