"""The errors that users see, each with a message, a hint and a cause; and the error for a plugin that violates the
interface."""

from __future__ import annotations

__all__ = ["ContextOverflow", "EngineCrashed", "EngineError", "InputError", "ParagoneError"]


class ParagoneError(Exception):
    """Base class of the errors that are shown to the user.

    Chain a cause as usual (`raise … from error`). The log shows the cause, the screen never does.

    Attributes:
        message: What failed and why.
        hint: What the user can do; may be empty.
        exit_code: Exit code of a command that this error ends.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class InputError(ParagoneError):
    """An error that the user can correct, such as a bad option or a missing file."""

    exit_code = 2


class EngineError(ParagoneError):
    """The engine failed, though the request was correct."""


class ContextOverflow(InputError):
    """The whole prompt does not fit in the context window.

    Attributes:
        tokens: Length of the prompt in tokens; 0 if unknown.
        context: Size of the context window in tokens; 0 if unknown.
    """

    def __init__(self, message: str, *, hint: str = "", tokens: int = 0, context: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.tokens = tokens
        self.context = context


class EngineCrashed(EngineError):
    """The engine's process ended unexpectedly.

    Attributes:
        status: Exit code; negative for a signal, as in `subprocess.Popen.returncode`.
        log_tail: The last lines that the process and its libraries printed.
    """

    def __init__(
        self, message: str, *, hint: str = "", status: int = 0, log_tail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.log_tail = log_tail


class InterfaceViolation(Exception):
    """A plugin violates the plugin interface. Its text completes the message `The backend NAME breaks the plugin
    interface: …`.

    The application raises this error, and shows the user a message that names the plugin.
    """

    @classmethod
    def expected(cls, what: str, value: object) -> InterfaceViolation:
        """Return the violation for a value of a wrong type."""
        found = "None" if value is None else f"a value of the type {type(value).__name__}"
        return cls(f"{what} was expected, not {found}")
