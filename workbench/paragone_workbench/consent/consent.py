"""The question whether a document may do the actions that it names. Consent is required in this module only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.key_text import without_key_words
from paragone_workbench.config.state import State


class ConsentNeeded(InputError):
    """A document names what needs the user's consent, and the user was not asked."""

    def __init__(self, document: Path, actions: Sequence[str], *, hint: str) -> None:
        super().__init__(
            f"{document} may come from somebody else, and it names what reaches beyond its folder: "
            f"{'; '.join(actions)}. Nothing of this is done without your consent.",
            hint=hint,
        )
        self.actions = tuple(actions)
        """What would be done, without keys."""


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Whether the user consents to what a document does outside of its folder.

    A yes is remembered for the document's path and these actions. If the document names other actions, the user is asked again.
    """

    document: Path
    state: State
    ask: Callable[[Sequence[str]], bool] | None = None
    """Shows the user the actions and returns the answer; None if there is nobody to ask."""
    trusted: bool = False
    """Whether the user has consented to everything beforehand."""

    def require(self, actions: Sequence[str], *, hint: str = "Write --trust to consent.") -> None:
        """Return if the user consents to these actions. Raises InputError if not: `ConsentNeeded`, with `hint`, if nobody is asked.

        Keys among the words of the actions are not shown.
        """
        if not actions or self.trusted:
            return
        digest = self._digest(actions)
        if digest in self.state.saved.consents:
            return
        shown = [without_key_words(action) for action in actions]
        if self.ask is not None:
            if not self.ask(shown):
                raise InputError(f"{self.document} is not used: you did not allow its actions.")
            with contextlib.suppress(ParagoneError):  # then the next run asks again
                self.state.remember_consent(digest)
            return
        raise ConsentNeeded(self.document, shown, hint=hint)

    def _digest(self, actions: Sequence[str]) -> str:
        """Return a SHA-256 of the document's path and the actions: they may name commands, which are not written down."""
        import hashlib  # not at the top: loading it takes milliseconds, and few commands ask

        named = json.dumps([str(self.document.absolute()), *actions])
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()
