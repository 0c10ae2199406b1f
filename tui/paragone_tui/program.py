"""The part of the application that its screens use."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Protocol, TypeAlias

from paragone import ParagoneError

Do: TypeAlias = Callable[[Callable[[], Coroutine[None, None, None]]], None]
"""Runs a coroutine function in the background, for which later keys wait. The application shows a ParagoneError."""


class Program(Protocol):
    """The application, as its screens see it."""

    @property
    def is_leaving(self) -> bool:
        """Whether the program is about to end, so that the widgets may be gone."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        """Show a message."""

    def withdraw(self, sentence: str) -> None:
        """Remove a message from the screen."""

    def complain(self, error: ParagoneError) -> None:
        """Show an error that belongs to no lane."""

    async def reported(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function. If the function raises ParagoneError, show the error."""

    def save(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that saves something, in the background. The program waits for it before it ends, and so do keys."""

    async def edit_text(self, text: str) -> str | None:
        """Return a text as the user's editor has saved it; None if the text is unchanged. Raises ParagoneError."""

    def copy(self, text: str) -> None:
        """Copy text to the clipboard and show a message. A text that is too long for terminals goes to a file."""

    def copy_to_file(self, text: str) -> None:
        """Write text to the file that replaces the clipboard, and show the file's path."""

    def clear_notifications(self) -> None:
        """Remove all messages."""
