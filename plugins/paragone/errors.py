"""The errors that reach a person: a sentence, what to do about it, and the cause."""

from __future__ import annotations

__all__ = [
    "ContextOverflow",
    "EngineCrashed",
    "EngineError",
    "InputError",
    "ParagoneError",
]


class ParagoneError(Exception):
    """Something that the user is told of.

    `sentence` says what failed and why, `hint` what to do about it. The cause, where there is
    one, is chained as usual (`raise … from error`) and goes to the log, never to the screen.
    """

    exit_code = 1
    """What the command line ends with when this error ends it."""

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence} {self.hint}".rstrip()


class InputError(ParagoneError):
    """What was asked for cannot be: a bad option, a missing file. The user can mend it."""

    exit_code = 2


class EngineError(ParagoneError):
    """The engine could not do what it was rightly asked for."""


class ContextOverflow(InputError):
    """The prompt does not fit in the context window; nothing was cut."""

    def __init__(self, sentence: str, *, hint: str = "", tokens: int = 0, context: int = 0) -> None:
        super().__init__(sentence, hint=hint)
        self.tokens = tokens
        """Length of the prompt, in tokens."""
        self.context = context
        """Size of the context window, in tokens."""


class EngineCrashed(EngineError):
    """The engine's process ended without being asked to."""

    def __init__(
        self, sentence: str, *, hint: str = "", status: int = 0, log_tail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(sentence, hint=hint)
        self.status = status
        """Exit code; negative for a signal, as in `subprocess.Popen.returncode`."""
        self.log_tail = log_tail
        """The last lines that the process and its libraries printed."""
