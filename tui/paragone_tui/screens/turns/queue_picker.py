"""The picker of the prompts in the queue: edits a prompt, removes it, or sends it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker
from paragone_workbench.lanes.session import Session
from paragone_workbench.store.records import QueuedPrompt


class QueuePicker(Picker[QueuedPrompt | None]):
    """Shows the queue. The picker's result is the prompt to edit, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "send_again", "Send it again", priority=True),
        Binding("ctrl+x", "remove", "Remove it", priority=True),
        closing_binding("queue"),
    ]
    heading = "Prompts that wait"
    placeholder = "Find a prompt"
    key_hints = (
        ("enter", "edit"),
        ("^s", "send again"),
        ("^x", "remove"),
        ("^j ^k", "move"),
        ("esc", "close"),
    )

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._shown: dict[str, QueuedPrompt] = {}
        """The prompts by the ids of their options."""

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the prompts that contain the text."""
        prompts = [
            queued for queued in self._session.queue.prompts if text.casefold() in queued.text.casefold()
        ]
        self._shown = {str(id(queued)): queued for queued in prompts}
        self.say("" if prompts else "Nothing found.")
        return [Option(self._line(queued), id=key) for key, queued in self._shown.items()]

    def pick(self, option_id: str) -> None:
        """Close the picker with the prompt, unless a lane has already begun to answer it."""
        queued = self._shown[option_id]
        if queued.prompt is not None:
            self.say(
                "A lane has begun this prompt: it can be removed from the other lanes, but not be edited."
            )
        else:
            self.dismiss(queued)

    def action_send_again(self) -> None:
        """Put the highlighted prompt, which a stop may have kept, back into the queue to wait for its lanes."""
        if (queued := self._highlighted) is not None:
            self._session.send_again([queued])
            self._show_or_close()

    def action_remove(self) -> None:
        """Remove the highlighted prompt from the queue."""
        if (queued := self._highlighted) is not None:
            self._session.queue.remove(queued)
            self._show_or_close()

    @property
    def _highlighted(self) -> QueuedPrompt | None:
        return self._shown.get(self.highlighted)

    def _show_or_close(self) -> None:
        if self._session.queue.prompts:
            self.show()
        else:
            self.dismiss()

    def _line(self, queued: QueuedPrompt) -> Content:
        state = "kept" if queued.is_kept else "waits"
        waiting = [lane.name for lane in self._session.lanes if lane.record in queued.lanes]
        lanes = "" if queued.for_all and queued.prompt is None else ", ".join(waiting)
        return Content.assemble((one_line(queued.text), "bold"), (f"  {state}  {one_line(lanes)}", "dim"))
