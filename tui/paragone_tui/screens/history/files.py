"""Exports and imports conversations, in a thread that opens the history once more."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paragone_workbench.config.state import State
from paragone_workbench.engines.registry import Registry
from paragone_workbench.store.store import Store


@dataclass(frozen=True)
class ConversationFiles:
    """Exports and imports conversations. All methods block, and may raise ParagoneError."""

    registry: Registry
    state: State
    folders: Sequence[str]
    """The user's folders of models."""

    def export(self, file: str, numbers: Sequence[int] | None, *, replaces: bool) -> str:
        """Write conversations to a file, and return a sentence about the file. `numbers` is None for all conversations.

        Raises FileExists for an existing file, unless `replaces` is True.
        """
        from paragone_workbench.exporting.conversations import export_conversations

        with contextlib.closing(Store.open()) as store:
            exported = export_conversations(
                store, Path(file).expanduser().absolute(), numbers, self.registry.find, replaces=replaces
            )
        return " ".join((str(exported), *exported.left_out))

    def add(self, path: Path, allowed: Sequence[str] = ()) -> str:
        """Add the conversations of a file to the history, and return a sentence about their number.

        If the file would cause actions beyond its folder, the user must consent: `allowed` are the actions that the
        user allows. Raises ConsentNeeded if the file's actions beyond its folder are not exactly the `allowed` actions.
        """
        from paragone_workbench.consent.consent import Consent
        from paragone_workbench.importing.import_file import import_file, import_text

        consent = Consent(document=path, state=self.state)
        if allowed:
            consent = replace(consent, ask=lambda actions: tuple(actions) == tuple(allowed))
        return import_text(import_file(path, Store.open, self.registry, self.folders, consent.require))
