"""The picker of earlier conversations: lists the latest, or searches in their text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone_tui.widgets.picker import Picker, one_line
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.history import History

__all__ = ["ConversationPicker"]

_SHOWN = 200


class ConversationPicker(Picker[int | None]):
    """Its result is the id of the picked conversation, or None."""

    heading = "Earlier conversations"
    placeholder = "Search in everything that was said"

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._options: Sequence[Option] = ()
        self._searched: str | None = None
        """The search text of the current options, or of the search in progress."""

    def on_mount(self) -> None:
        """List the latest conversations."""
        self.show()

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the last search's results. For a new text, start a search that updates the list."""
        if text != self._searched:
            self._searched = text
            self.run_worker(self._search(text), group="search", exclusive=True)
        return self._options

    async def _search(self, text: str) -> None:
        try:
            self._options = await (self._found(text) if text else self._latest())
        except StoreError as error:
            self._options = ()
            self.say(str(error))
        else:
            self.say("" if self._options else "Nothing found.")
        self.show()

    def pick(self, option_id: str) -> None:
        """Close the picker with the conversation."""
        self.dismiss(int(option_id))

    async def _latest(self) -> Sequence[Option]:
        return [
            _option(
                it.id,
                it.title,
                f"{_when(it.updated)} · {it.prompts} prompt{'' if it.prompts == 1 else 's'} · "
                f"{', '.join(it.engines)}",
            )
            for it in await self._history.conversations(_SHOWN)
        ]

    async def _found(self, text: str) -> Sequence[Option]:
        options: dict[int, Option] = {}
        for hit in await self._history.search(text, _SHOWN):
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
