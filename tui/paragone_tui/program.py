"""What screens use of the application that shows them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from paragone import ParagoneError

if TYPE_CHECKING:
    from textual.screen import Screen

__all__ = ["Do", "Program", "Say", "Show"]

Result = TypeVar("Result")

Do: TypeAlias = Callable[[Callable[[], Coroutine[None, None, None]]], None]
"""Runs a coroutine function in the background, and shows the error if it raises ParagoneError."""


class Say(Protocol):
    """Shows a message, for a longer time if it is a warning."""

    def __call__(self, sentence: str, *, warning: bool = False) -> None:
        """Show it."""


class Show(Protocol):
    """Shows a screen over the present one. `then` is called with its result."""

    def __call__(self, screen: Screen[Result], then: Callable[[Result | None], None] | None = None) -> None:
        """Show it."""


class Program(Protocol):
    """The application."""

    @property
    def is_leaving(self) -> bool:
        """Whether the program is about to end; the widgets may be gone."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        """Show a message."""

    def complain(self, error: ParagoneError) -> None:
        """Show an error that belongs to no lane."""

    def save(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that saves something, in the background. The program does not end before it has."""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy text to the clipboard."""

    def clear_notifications(self) -> None:
        """Remove all messages."""
