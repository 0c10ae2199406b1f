"""The picker of earlier conversations: lists the latest, or searches in their text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, TypeAlias

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from paragone import ParagoneError
from paragone.wording import counted
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker
from paragone_workbench.dates import local_date
from paragone_workbench.lanes.session import Session
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.history import History
from paragone_workbench.store.records import Hit

Found: TypeAlias = tuple[int, Hit | None]
"""The id of a conversation, and what a search found in it; None if it was picked from the list."""

_SHOWN = 200


class ConversationPicker(Picker[Found | None]):
    """Opens or deletes a conversation. Its result is the one to open, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+x", "delete", "Delete the conversation", priority=True)
    ]
    heading = "Earlier conversations"
    placeholder = "Search prompts and answers"
    key_hints = (("enter", "open"), ("^x", "delete"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, history: History, session: Session) -> None:
        super().__init__()
        self._history = history
        self._session = session
        self._hits: dict[str, Hit] = {}
        """The newest hit of each conversation, by the id of the option."""
        self._to_delete: str | None = None
        """The option that a second press of the key deletes."""
        self._options: Sequence[Option] = ()
        self._searched: str | None = None
        """The search text of the current options, or of the search in progress."""

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the last search's results. For a new text, start a search that updates the list."""
        if text != self._searched:
            self._searched = text
            self._to_delete = None
            self.run_worker(self._search(text), group="search", exclusive=True)
        return self._options

    async def _search(self, text: str) -> None:
        try:
            self._options = await (self._found(text) if text else self._latest())
        except StoreError as error:
            self._options = ()
            self.say(str(error))
        else:
            nothing = "Nothing found." if text else "There are no earlier conversations."
            self.say("" if self._options else nothing)
        self.show()

    def pick(self, option_id: str) -> None:
        """Close the picker with the conversation. Of an answer in an experiment, say how to see it."""
        hit = self._hits.get(option_id)
        if hit is not None and hit.conversation is None:
            experiment, _, _ = hit.place.partition("/")
            self.say(
                f"This is the answer {hit.place} of a suite. `paragone suite show {experiment}` shows it."
            )
        else:
            self.dismiss((int(option_id), hit))

    def action_delete(self) -> None:
        """Ask for a second press of the key; at the second press, delete the highlighted conversation."""
        option = self.options.highlighted_option
        if option is None or option.id is None:
            return
        if not option.id.isdecimal():
            self.say("This is an answer of a suite. It is deleted with its experiment.")
            return
        if int(option.id) == self._session.conversation.number:
            self.say("This conversation is open. To delete it, start a new one first.")
        elif option.id == self._to_delete:
            self._to_delete = None
            self.run_worker(self._delete(int(option.id)), group="delete")
        else:
            self._to_delete = option.id
            self.say("Press ^x again to delete this conversation. It cannot be restored.")

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if self._to_delete not in (None, event.option_id):
            self._to_delete = None
            self.say("")

    async def _delete(self, number: int) -> None:
        try:
            await self._session.delete_conversation(number)
        except ParagoneError as error:
            self.say(str(error))
        else:
            self._searched = None
            self.show()

    async def _latest(self) -> Sequence[Option]:
        self._hits = {}
        return [
            _option(
                str(summary.number),
                summary.title,
                f"{_when(summary.updated)} · {counted(summary.prompts, 'prompt')} · {', '.join(summary.engines)}",
            )
            for summary in await self._history.conversations(_SHOWN)
        ]

    async def _found(self, text: str) -> Sequence[Option]:
        hits: dict[str, Hit] = {}
        for hit in await self._history.call(lambda store: store.search(text, _SHOWN)):
            hits.setdefault(hit.place if hit.conversation is None else str(hit.conversation), hit)
        self._hits = hits
        return [_option(option, _title(hit), _when(hit.time), hit.snippet) for option, hit in hits.items()]


def _title(hit: Hit) -> str:
    return hit.title if hit.conversation is not None else f"{hit.place} · {hit.title} · {hit.engine}"


def _option(option_id: str, title: str, detail: str, snippet: str = "") -> Option:
    said = f"\n  {one_line(snippet)}" if snippet else ""
    line = Content.assemble((one_line(title), "bold"), (f"  {one_line(detail)}", "dim"), (said, "dim"))
    return Option(line, id=option_id)


def _when(moment: float) -> str:
    day = local_date(moment, "%Y-%m-%d")
    return local_date(moment, "%H:%M") if day == time.strftime("%Y-%m-%d") else day
