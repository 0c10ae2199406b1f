"""Picking an earlier conversation, by looking or by searching in what was said."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone_tui.picker import Picker, one_line
from paragone_workbench.store import Store, StoreError

__all__ = ["ConversationPicker"]

_SHOWN = 200


class ConversationPicker(Picker[int | None]):
    """Returns the id of the conversation that was picked, or None."""

    heading = "Earlier conversations"
    placeholder = "Search in everything that was said"

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def on_mount(self) -> None:
        """List the latest."""
        self.show()

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the conversations in which the text was said, or the latest."""
        try:
            options = self._found(text) if text else self._latest()
        except StoreError as error:
            self.say(str(error))
            return ()
        self.say("" if options else "Nothing found.")
        return options

    def pick(self, option_id: str) -> None:
        """Go away with the conversation."""
        self.dismiss(int(option_id))

    def _latest(self) -> Sequence[Option]:
        return [
            _option(
                it.id,
                it.title,
                f"{_when(it.updated)} · {it.prompts} prompt{'' if it.prompts == 1 else 's'} · "
                f"{', '.join(it.engines)}",
            )
            for it in self._store.conversations(_SHOWN)
        ]

    def _found(self, text: str) -> Sequence[Option]:
        options: dict[int, Option] = {}
        for hit in self._store.search(text, _SHOWN):
            if hit.conversation_id not in options:
                options[hit.conversation_id] = _option(
                    hit.conversation_id, hit.title, _when(hit.time), hit.snippet
                )
        return list(options.values())


def _option(conversation_id: int, title: str, detail: str, snippet: str = "") -> Option:
    said = f"\n  {one_line(snippet)}" if snippet else ""
    line = Content.assemble((one_line(title), "bold"), (f"  {one_line(detail)}", "dim"), (said, "dim"))
    return Option(line, id=str(conversation_id))


def _when(moment: float) -> str:
    here = time.localtime(moment)
    today = time.strftime("%Y-%m-%d", here) == time.strftime("%Y-%m-%d")
    return time.strftime("%H:%M" if today else "%Y-%m-%d", here)
