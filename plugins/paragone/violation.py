"""The error for a plugin that violates the plugin interface or returns wrong values."""

from __future__ import annotations


class InterfaceViolation(Exception):
    """A plugin violates the plugin interface. The message completes a sentence: `The backend NAME breaks the plugin interface: …`.

    The application raises this error, and shows the user a sentence that names the plugin.
    """

    @classmethod
    def expected(cls, what: str, value: object) -> InterfaceViolation:
        """Return the violation for a value of a wrong type."""
        found = "None" if value is None else f"a value of the type {type(value).__name__}"
        return cls(f"{what} was expected, not {found}")
