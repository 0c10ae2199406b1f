"""The rows above the composer that show the prompts of the queue."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from paragone_tui.terminal.text import one_line
from paragone_workbench.store.records import QueuedPrompt

_MOST = 3
"""Largest number of prompts that are shown, each on one row."""


class QueueRows(Static):
    """Shows the first prompts of the queue; nothing while the queue is empty."""

    DEFAULT_CSS = """
    QueueRows {
        height: auto; padding: 0 1; display: none; color: $text-muted;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    """

    def __init__(self) -> None:
        super().__init__(markup=False)

    def show(self, prompts: Sequence[QueuedPrompt], queue_key: str) -> None:
        """Show these prompts. `queue_key` is the key of the command `queue`, in short notation."""
        rows = [
            Content(f"{'kept ' if queued.is_kept else 'waits'}  {one_line(queued.text)}")
            for queued in prompts[:_MOST]
        ]
        if prompts:
            sends = (
                "enter in the empty prompt sends them again, "
                if any(queued.is_kept for queued in prompts)
                else ""
            )
            more = f"{len(prompts) - _MOST} more; " if len(prompts) > _MOST else ""
            rows.append(Content(f"{more}{sends}{queue_key} edits or removes them"))
        self.update(Content("\n").join(rows))
        self.display = bool(rows)
