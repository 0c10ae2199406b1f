"""The interface of the application for its screens."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Protocol, TypeAlias

from paragone import ParagoneError

Do: TypeAlias = Callable[[Callable[[], Coroutine[None, None, None]]], None]
"""Runs a coroutine function in the background, and shows the error if it raises ParagoneError."""


class Program(Protocol):
    """The application."""

    @property
    def is_leaving(self) -> bool:
        """Whether the program is about to end; the widgets may be gone."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        """Show a message."""

    def withdraw(self, sentence: str) -> None:
        """Remove a message from the screen."""

    def complain(self, error: ParagoneError) -> None:
        """Show an error that belongs to no lane."""

    async def reported(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function; show the error if it raises ParagoneError."""

    def save(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that saves something, in the background. The program does not end before it has."""

    async def edit_text(self, text: str) -> str | None:
        """Return a text as the user's editor has saved it; None if it is the same. Raises ParagoneError."""

    def copy(self, text: str) -> None:
        """Copy text to the clipboard and say so. A text that is too long for terminals goes to a file."""

    def copy_to_file(self, text: str) -> None:
        """Write text to the file that stands in for the clipboard, and say which one that is."""

    def clear_notifications(self) -> None:
        """Remove all messages."""
