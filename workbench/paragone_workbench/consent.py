"""The user's consent to what a document's engines do outside of the document's folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.texts import without_key_words
from paragone_workbench.config.state import State


class ConsentNeeded(InputError):
    """A document's actions need the user's consent, and nobody could be asked."""

    def __init__(self, document: Path, actions: Sequence[str], *, hint: str) -> None:
        super().__init__(
            f"{document} may come from somebody else, and names actions outside of its folder: "
            f"{'; '.join(actions)}. None of these actions is done without your consent.",
            hint=hint,
        )
        self.actions = tuple(actions)
        """The actions that need consent, without keys."""


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Whether the user consents to a document's actions outside of its folder.

    Consent is remembered for the document's path and these actions. If the document names other actions, the user is asked again.
    """

    document: Path
    state: State
    ask: Callable[[Sequence[str]], bool] | None = None
    """Shows the user the actions and returns whether the user consents; None if nobody can be asked."""
    trusted: bool = False
    """Whether the user has consented to all actions beforehand."""

    def require(self, actions: Sequence[str], *, hint: str = "Write --trust to consent.") -> None:
        """Require the user's consent to these actions. Raises InputError without consent: `ConsentNeeded` if nobody can be asked.

        `hint` says how to consent. Keys in the actions are not shown.
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
            with contextlib.suppress(ParagoneError):  # unsaved: the user is asked again next time
                self.state.remember_consent(digest)
            return
        raise ConsentNeeded(self.document, shown, hint=hint)

    def _digest(self, actions: Sequence[str]) -> str:
        """Return a SHA-256 of the document's path and the actions, which is saved instead of the actions themselves."""
        import hashlib  # imported here because the import takes milliseconds, and few commands need consent

        named = json.dumps([str(self.document.absolute()), *actions])
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()
