"""What the application finds wrong with what a plugin is, or returns."""

from __future__ import annotations

__all__ = ["InterfaceViolation"]


class InterfaceViolation(Exception):
    """A plugin violates the plugin interface; the message says how, as the end of a sentence.

    The application raises it, and turns it into a sentence for the user that names the plugin.
    """
