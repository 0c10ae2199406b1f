"""Deletes earlier conversations, and brings them back."""

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

    They are erased at the end of the program; until then, the last deletion can be undone.
    """

    recorder: Recorder
    present: Callable[[], int | None]
    """Returns the number of the present conversation; None before it is saved."""
    _numbers: list[int] = field(default_factory=list)

    async def delete(self, number: int) -> None:
        """Delete an earlier conversation. Raises StoreError if that fails, InputError for the present one."""
        if number == self.present():
            raise InputError("This conversation is open.", hint="To delete it, start a new one first.")
        await self.recorder.delete(number)
        self._numbers.append(number)

    async def restore_last(self) -> int | None:
        """Bring back the conversation that was deleted last, and return its number; None if there is none.

        A conversation that an import has brought back meanwhile does not count. Raises ParagoneError if that fails.
        """
        while self._numbers:
            number = self._numbers.pop()
            try:
                if await self.recorder.restore(number):
                    return number
            except StoreError:  # not if another program has deleted it for good
                self._numbers.append(number)
                raise
        return None
