"""The error for plugins that violate the interface, or return wrong values."""

from __future__ import annotations

__all__ = ["InterfaceViolation"]


class InterfaceViolation(Exception):
    """A plugin violates the plugin interface; the message says how, as the end of a sentence.

    The application raises it, and turns it into a sentence for the user that names the plugin.
    """

    @classmethod
    def expected(cls, what: str, value: object) -> InterfaceViolation:
        """Return the violation that a value is not the expected one."""
        found = "None" if value is None else f"a value of the type {type(value).__name__}"
        return cls(f"{what} was expected, not {found}")
