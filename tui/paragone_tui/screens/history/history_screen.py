"""The screen of earlier conversations: finds, opens, changes, exports and imports conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeAlias

from textual.binding import Binding, BindingType
from textual.widgets.option_list import Option

from paragone import InputError, ParagoneError
from paragone.wording import quoted
from paragone_tui.key_order import ACT, LIST
from paragone_tui.screens.history.entries import HistoryEntry, find_entries, option_of
from paragone_tui.screens.history.files import ConversationFiles
from paragone_tui.widgets.picker import Picker
from paragone_tui.widgets.question import Act, Question
from paragone_workbench.engines.foreign.answers import answer_apart
from paragone_workbench.experiments.output_file import FileExists
from paragone_workbench.lanes.session import Session
from paragone_workbench.store.history import History
from paragone_workbench.store.query import read_query
from paragone_workbench.store.records import Hit, Summary
from paragone_workbench.store.retry import retrying
from paragone_workbench.store.store import Store

Found: TypeAlias = tuple[int, Hit | None]
"""The number of a conversation, and the match of the search; None without a search."""

_SHOWN = 200
_SEARCHING = (("enter", "open"), ("tab", "act on it"), ("^x", "delete"), ("^j ^k", "move"), ("esc", "close"))
_ACTING = (
    ("p", "pin"), ("r", "name"), ("t", "tag"), ("x", "delete"), ("u", "undo"), ("e", "export"), ("i", "import"),
    ("d", "copy"), ("tab", "back"), ("E", "export all"), ("esc", "close"),
)  # fmt: skip
"""Key hints while the list has the focus."""


class HistoryScreen(Picker[Found | None]):
    """The screen's result is the conversation to open, or None. Tab goes to the list, where letters are commands, and back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,shift+tab", "switch", "Search, or act on a conversation", show=False, priority=True),
        Binding("ctrl+x", "delete", "Delete the conversation", priority=True),
        Binding("x", "delete", "Delete the conversation"),
        Binding("u", "undo", "Bring back the conversation that was deleted last"),
        Binding("p", "pin", "Pin the conversation, or no longer"),
        Binding("r", "rename", "Rename the conversation"),
        Binding("t", "tag", "Tag the conversation"),
        Binding("d", "duplicate", "Duplicate the conversation"),
        Binding("e", "export", "Export the conversation"),
        Binding("E", "export_all", "Export all conversations"),
        Binding("i", "import", "Import conversations"),
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("slash", "switch", "Search", show=False),
    ]
    DEFAULT_CSS = "HistoryScreen #picker { width: 120; height: 100%; max-height: 40; }"
    heading = "Earlier conversations"
    placeholder = "Words, and filters: engine:… model:… tag:… since:2026-10 until:…"
    key_hints = _SEARCHING

    def __init__(self, history: History, session: Session, files: ConversationFiles) -> None:
        super().__init__()
        self._history = history
        self._session = session
        self._files = files
        self._entries: dict[str, HistoryEntry] = {}
        """The listed entries, by the ids of their options."""
        self._options: Sequence[Option] = ()
        self._searched: str | None = None
        """The search text of the current options, or of the search in progress."""

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the last search's results. For a new text, start a search that updates the list."""
        if text != self._searched:
            self._searched = text
            self.is_looking = True
            self.run_worker(self._search(text), group=LIST, exclusive=True)
        return self._options

    async def _search(self, text: str, remark: str = "") -> None:
        """List the matching entries. Below the list, show `remark` or, without a remark, why the list is empty or cut."""
        try:
            query = read_query(text)
            found = await self._history.call(lambda store: find_entries(store, query, text, _SHOWN))
        except ParagoneError as error:
            self._options = ()
            self.say(str(error))
        else:
            self._entries = {entry.id: entry for entry in found}
            self._options = [option_of(entry, query) for entry in self._entries.values()]
            self.say(remark or self._incomplete_remark(found, text))
        self.is_looking = False
        self.show()

    def _incomplete_remark(self, found: Sequence[HistoryEntry], text: str) -> str:
        if len(found) == _SHOWN:
            return f"The newest {_SHOWN} are listed; a search finds the others."
        if found:
            return ""
        return "Nothing found." if text else "There are no earlier conversations."

    @property
    def _entry(self) -> HistoryEntry | None:
        return self._entries.get(self.highlighted)

    def pick(self, option_id: str) -> None:
        """Close the screen with the conversation. For an answer of a suite, first make a conversation of its prompt."""
        entry = self._entries.get(option_id)
        if entry is None:
            return
        if entry.summary is not None:
            self.dismiss((entry.summary.number, entry.hit))
        else:
            self._do(lambda: self._open_prompt(entry.id))

    async def _open_prompt(self, place: str) -> str:
        from paragone_workbench.importing.from_experiment import add_prompt

        experiment, _, run = place.removeprefix("e").partition("/")
        added = await self._history.call(lambda store: add_prompt(store, int(experiment), int(run)))
        self.dismiss((added.number, None))
        return ""

    # The keys of the list

    def action_switch(self) -> None:
        """Move the focus from the search to the list, where letters are commands, or back."""
        to_list = self.focused is not self.options
        self.set_focus(self.options if to_list else self.words)

    def on_descendant_focus(self) -> None:
        """Show the keys of the widget that has the focus."""
        self.offer(_ACTING if self.focused is self.options else _SEARCHING)

    def action_delete(self) -> None:
        """Delete the conversation, which the key `u` can restore."""
        if (summary := self._conversation()) is not None:
            self._do(lambda: self._delete(summary))

    async def _delete(self, summary: Summary) -> str:
        await self._session.deletions.delete(summary.number)
        if self._entry is not None and self._entry.summary == summary:
            is_last = self.options.highlighted == self.options.option_count - 1
            self.action_move(-1 if is_last else 1)  # the search that follows keeps this highlight
        undo = "u" if self.focused is self.options else "tab, then u"
        return f"Deleted: c{summary.number}, {quoted(summary.title)}. Until the program ends, {undo} brings it back."

    def action_undo(self) -> None:
        """Restore the conversation that was deleted last."""
        self._do(self._restore)

    async def _restore(self) -> str:
        number = await self._session.deletions.restore_last()
        return "No deletion is left to undo." if number is None else f"c{number} is back."

    def action_pin(self) -> None:
        """Pin or unpin the conversation."""
        if (summary := self._conversation()) is not None:
            number, pinned = summary.number, not summary.is_pinned
            self._do(lambda: self._changed(lambda store: store.labels.pin(number, pinned=pinned)))

    def action_rename(self) -> None:
        """Ask for a new title of the conversation."""
        if (summary := self._conversation()) is not None:
            number = summary.number
            self._ask(
                "Title",
                summary.title,
                lambda title: self._changed(lambda store: store.labels.rename(number, title)),
            )

    def action_tag(self) -> None:
        """Ask for the tags of the conversation."""
        if (summary := self._conversation()) is not None:
            number = summary.number
            self._ask(
                "Tags, separated by spaces",
                " ".join(summary.tags),
                lambda tags: self._changed(lambda store: store.labels.tag(number, tags.split())),
                takes_empty=True,
            )

    def action_duplicate(self) -> None:
        """Save a copy of the conversation."""
        if (summary := self._conversation()) is not None:
            self._do(lambda: self._duplicate(summary.number))

    async def _duplicate(self, number: int) -> str:
        from paragone_workbench.store.recording.whole import duplicate

        return f"c{await retrying(self._history, lambda store: duplicate(store, number))} is the copy."

    def action_export(self) -> None:
        """Ask for the file to write the conversation to."""
        if (summary := self._conversation()) is not None:
            self._ask_export(f"Write c{summary.number} to", f"c{summary.number}.md", [summary.number])

    def action_export_all(self) -> None:
        """Ask for the file to write all conversations to."""
        self._ask_export("Write all conversations to", "conversations.json", None)

    def _ask_export(self, question: str, name: str, numbers: Sequence[int] | None) -> None:
        """Ask for a file, and write conversations to the file. Replace an existing file if the user enters its path twice."""
        existing = ""

        async def write(file: str) -> str:
            nonlocal existing
            replaces, existing = file == existing, ""
            try:
                return await asyncio.to_thread(self._files.export, file, numbers, replaces=replaces)
            except FileExists as error:
                existing = file
                raise InputError("This file exists; enter replaces it.") from error

        self._ask(f"{question} (.md to read, .json for everything)", name, write, "Writing …")

    def action_import(self) -> None:
        """Ask for the file to import."""
        self._ask("Import the file", "", self._import, "Reading …")

    async def _import(self, file: str) -> str:
        from paragone_tui.screens.history.consent_sheet import ConsentSheet
        from paragone_workbench.consent.consent import ConsentNeeded

        path = Path(file).expanduser().absolute()
        try:
            return await self._added(path)
        except ConsentNeeded as needed:
            sheet = ConsentSheet(path, needed.actions)
            await self.app.push_screen_wait(sheet)
            if not sheet.is_allowed:
                return f"{path} is not imported."
            return await self._added(path, needed.actions)

    async def _added(self, path: Path, allowed: Sequence[str] = ()) -> str:
        """Add a file's conversations, in a thread for which the end of the program does not wait."""
        return await answer_apart(partial(self._files.add, path, allowed))

    def _conversation(self) -> Summary | None:
        """Return the highlighted conversation. If an answer of a suite is highlighted, show a message and return None."""
        entry = self._entry
        if entry is not None and entry.summary is None:
            self.say("This is an answer of a suite; enter opens its prompt as a conversation.")
        return None if entry is None else entry.summary

    def _ask(
        self, question: str, value: str, act: Act, meanwhile: str = "", *, takes_empty: bool = False
    ) -> None:
        """Ask for a line of text, pass the line to an action, and list the conversations again."""

        def answered(done: str | None) -> None:
            if done is not None and self.query("Input"):  # the end of the program may have removed the field
                self.run_worker(self._search(self.words.value.strip(), done), group=ACT)

        self.app.push_screen(
            Question(question, value, act, meanwhile=meanwhile, takes_empty=takes_empty), answered
        )

    async def _changed(self, change: Callable[[Store], object]) -> str:
        """Change the history, and return an empty remark, because the list shows the change."""
        await retrying(self._history, change)
        return ""

    def _do(self, work: Callable[[], Awaitable[str]]) -> None:
        """Execute an action on the history, list the conversations again, and show the action's sentence or error."""
        self.say("")
        self.run_worker(self._done(work), group=ACT)

    async def _done(self, work: Callable[[], Awaitable[str]]) -> None:
        try:
            remark = await work()
        except ParagoneError as error:
            self.say(str(error))
            return
        if not self.leaving:
            await self._search(self.words.value.strip(), remark)
