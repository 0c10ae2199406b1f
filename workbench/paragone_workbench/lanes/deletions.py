"""Delete earlier conversations, and undo deletions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_workbench.store.errors import StoreError

if TYPE_CHECKING:
    from paragone_workbench.store.recording.recorder import Recorder


@dataclass(eq=False)
class Deletions:
    """The conversations that a session has deleted.

    The program erases these conversations when it ends. Until then, the last deletion can be undone.
    """

    recorder: Recorder
    present: Callable[[], int | None]
    """Returns the number of the current conversation; None before the conversation is saved."""
    _numbers: list[int] = field(default_factory=list)

    async def delete(self, number: int) -> None:
        """Delete an earlier conversation. Raises StoreError if the deletion fails, InputError for the current conversation."""
        if number == self.present():
            raise InputError(
                "This conversation is open.", hint="To delete it, start a new conversation first."
            )
        await self.recorder.delete(number)
        self._numbers.append(number)

    async def restore_last(self) -> int | None:
        """Restore the conversation that was deleted last, and return its number; None if none can be restored.

        Skips a conversation that an import has restored. Raises StoreError, after which the user can try again, and InputError
        if another program has erased the conversation.
        """
        while self._numbers:
            number = self._numbers.pop()
            try:
                if await self.recorder.restore(number):
                    return number
            except StoreError:  # the user can try again; after an InputError, the conversation is gone
                self._numbers.append(number)
                raise
        return None
