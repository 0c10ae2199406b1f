"""The screen of earlier conversations: finds, opens, changes, exports and imports conversations."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeAlias

from rich.console import RenderableType
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from paragone import InputError, ParagoneError
from paragone.texts import counted, quoted
from paragone.threads import run_in_thread
from paragone_tui.engine_list import EngineList
from paragone_tui.key_order import ACT, LIST
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets import fields, modal, picker
from paragone_workbench.paths import FileExists
from paragone_workbench.store.records import Hit, Query, Summary, read_query
from paragone_workbench.store.saving import History
from paragone_workbench.store.store import Store
from paragone_workbench.text import local_date


class ConsentSheet(modal.Sheet):
    """Lists the actions that a file would cause. Once the sheet is closed, `is_allowed` has the user's answer."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "allow", "Allow it"), ("n", "dismiss", "Do not")]
    heading = "Third-party file"
    key_hints = (("y", "import and consent"), ("n", "do not import"), ("j k", "scroll"))

    def __init__(self, document: Path, actions: Sequence[str]) -> None:
        super().__init__()
        self._document = document
        self._actions = actions
        self.is_allowed = False

    def parts(self) -> Iterator[RenderableType]:
        yield f"{one_line(str(self._document))} may be written by a third party. If you consent, its conversations do this when they are opened:\n"
        for action in self._actions:
            yield f"· {one_line(action)}"
        yield "\nImport the file, and consent? paragone remembers a yes for this file and these actions."

    def action_allow(self) -> None:
        self.is_allowed = True
        self.dismiss()


Entry: TypeAlias = tuple[Summary | Hit, Hit | None]
"""A conversation, or an answer of a suite (only searches find these), and the newest match of the search."""


def find_entries(store: Store, query: Query, text: str, limit: int) -> dict[str, Entry]:
    """Return at most `limit` entries that match `query`, by their ids. `text` is the query in the user's words."""
    if not query.words:
        return {f"c{one.number}": (one, None) for one in store.conversations(limit, query=query)}
    hits = store.search(text, limit, one_each=True)
    summaries = store.summaries(hit.conversation for hit in hits if hit.conversation is not None)
    return {
        hit.id: (hit if hit.conversation is None else summaries[hit.conversation], hit)
        for hit in hits
        if hit.conversation is None
        or hit.conversation in summaries  # another program may have just deleted the conversation
    }


def option_of(entry_id: str, entry: Entry, query: Query) -> Option:
    """Return the lines of an entry: its title and details, and below these the matching text with the words marked."""
    found, hit = entry
    if isinstance(found, Summary):
        details = [time_text(found.updated), counted(found.prompts, "prompt"), ", ".join(found.engines)]
        details += [f"#{tag}" for tag in found.tags]
        details += ["pinned"] * found.is_pinned + ["interrupted"] * found.is_interrupted + [entry_id]
    else:
        details = [time_text(found.time), f"answer {entry_id} of a suite"]
    parts: list[tuple[str, str]] = [
        *picker.marked(found.title, query.words, "bold"),
        (f"  {one_line(' · '.join(filter(None, details)))}", "dim"),
    ]
    if hit is not None and not hit.is_title:
        parts += [(f"\n  {one_line(hit.engine)}: " if hit.engine else "\n  ", "dim")]
        parts += picker.marked(hit.snippet, query.words)
    return Option(Content.assemble(*parts), id=entry_id)


def time_text(moment: float) -> str:
    """Return a moment in local time, without the date if the moment is today."""
    day = local_date(moment, "%Y-%m-%d")
    return local_date(moment, "%H:%M" if day == time.strftime("%Y-%m-%d") else "%Y-%m-%d %H:%M")


def export_to(file: str, numbers: Sequence[int] | None, engines: EngineList, *, replaces: bool) -> str:
    """Write conversations to a file, and return a message about the file. `numbers` is None for all conversations.

    Blocks. Raises FileExists for an existing file, unless `replaces` is True, and ParagoneError.
    """
    from paragone_workbench.consent import remember_export
    from paragone_workbench.files.exporting import export_conversations

    path = Path(file).expanduser().absolute()
    with contextlib.closing(Store.open()) as store:
        exported = export_conversations(
            store, path, numbers, engines.session.registry.find, replaces=replaces
        )
    remember_export(path, engines.state)
    return " ".join((str(exported), *exported.left_out))


def import_from(path: Path, engines: EngineList, allowed: Sequence[str] = ()) -> str:
    """Add the conversations of a file to the history, and return a message with their number. Blocks. Raises ConsentNeeded
    if the file's actions outside its folder are not exactly the actions that the user allows, and ParagoneError."""
    from paragone_workbench.consent import Consent
    from paragone_workbench.files.importing import import_file, import_text

    consent = Consent(document=path, state=engines.state)
    if allowed:
        consent = replace(consent, ask=lambda actions: tuple(actions) == tuple(allowed))
    folders, registry = engines.config.models.folders, engines.session.registry
    return import_text(import_file(path, Store.open, registry, folders, consent.require))


Found: TypeAlias = tuple[int, Hit | None]
"""The number of a conversation, and the match of the search; None without a search."""

_SHOWN = 200
_SEARCHING = (("enter", "open"), ("tab", "act on it"), ("^x", "delete"), ("^j ^k", "move"), ("esc", "close"))
_ACTING = (
    ("p", "pin"), ("r", "name"), ("t", "tag"), ("x", "delete"), ("e", "export"), ("i", "import"),
    ("tab", "back"), ("u", "undo a deletion"), ("E", "export all"), ("esc", "close"),
)  # fmt: skip
"""Key hints while the list has the focus."""


class HistoryScreen(picker.Picker[Found | None]):
    """The screen's result is the conversation to open, or None. Tab goes to the list, where letters are commands, and back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,shift+tab", "switch", "Search, or act on a conversation", show=False, priority=True),
        Binding("ctrl+x", "delete", "Delete the conversation", priority=True),
        Binding("x", "delete", "Delete the conversation"),
        Binding("u", "undo", "Restore the last deleted conversation"),
        Binding("p", "pin", "Pin or unpin the conversation"),
        Binding("r", "rename", "Rename the conversation"),
        Binding("t", "tag", "Tag the conversation"),
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

    def __init__(self, history: History, engines: EngineList) -> None:
        super().__init__()
        self._history = history
        self._engines = engines
        self._entries: dict[str, Entry] = {}
        self._options: Sequence[Option] = ()
        self._searched: str | None = None

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
            self._entries = found
            self._options = [option_of(entry_id, entry, query) for entry_id, entry in found.items()]
            nothing = "Nothing found." if text else "There are no earlier conversations."
            cut = (
                f"The newest {_SHOWN} are listed; a search finds the others." if len(found) == _SHOWN else ""
            )
            self.say(remark or (cut if found else nothing))
        self.is_looking = False
        self.show()

    def pick(self, option_id: str) -> None:
        """Close the screen with the conversation. For an answer of a suite, first make a conversation of its prompt."""
        if option_id in self._entries:
            found, hit = self._entries[option_id]
            if isinstance(found, Summary):
                self.dismiss((found.number, hit))
            else:
                self._do(lambda: self._open_prompt(option_id))

    async def _open_prompt(self, place: str) -> str:
        from paragone_workbench.files.importing import add_prompt

        experiment, _, run = place.removeprefix("e").partition("/")
        added = await self._history.call(lambda store: add_prompt(store, int(experiment), int(run)))
        self.dismiss((added.number, None))
        return ""

    # The keys of the list

    def action_switch(self) -> None:
        to_list = self.focused is not self.options
        self.set_focus(self.options if to_list else self.words)

    def on_descendant_focus(self) -> None:
        self.offer(_ACTING if self.focused is self.options else _SEARCHING)

    def action_delete(self) -> None:
        if (summary := self._conversation()) is None:
            return
        if summary.number == self._engines.session.conversation.number:
            self.say("This conversation is open. To delete it, start a new conversation first.")
            return

        def answered(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self._do(lambda: self._delete(summary))

        question = f"Delete {quoted(summary.title)} with {counted(summary.prompts, 'prompt')}?"
        self.app.push_screen(fields.Confirmation(question), answered)

    async def _delete(self, summary: Summary) -> str:
        await self._engines.session.recorder.delete(summary.number)
        if self.highlighted == f"c{summary.number}":
            is_last = self.options.highlighted == self.options.option_count - 1
            self.action_move(-1 if is_last else 1)  # the search that follows keeps this highlight
        keys = "u restores" if self.focused is self.options else "tab and u restore"
        return f"Deleted: c{summary.number}, {quoted(summary.title)}; {keys} it."

    def action_undo(self) -> None:
        self._do(self._restore)

    async def _restore(self) -> str:
        number = await self._engines.session.recorder.restore()
        return "There is no deletion to undo." if number is None else f"c{number} is restored."

    def action_pin(self) -> None:
        if (summary := self._conversation()) is not None:
            number, pinned = summary.number, not summary.is_pinned
            self._do(lambda: self._changed(lambda store: store.pin(number, pinned=pinned)))

    def action_rename(self) -> None:
        if (summary := self._conversation()) is not None:
            number = summary.number
            self._ask(
                "Title",
                summary.title,
                lambda title: self._changed(lambda store: store.rename(number, title)),
            )

    def action_tag(self) -> None:
        if (summary := self._conversation()) is not None:
            number = summary.number
            self._ask(
                "Tags, separated by spaces",
                " ".join(summary.tags),
                lambda tags: self._changed(lambda store: store.tag(number, tags.split())),
                takes_empty=True,
            )

    def action_export(self) -> None:
        if (summary := self._conversation()) is not None:
            self._ask_export(f"Write c{summary.number} to", f"c{summary.number}.md", [summary.number])

    def action_export_all(self) -> None:
        self._ask_export("Write all conversations to", "conversations.jsonl", None)

    def _ask_export(self, question: str, name: str, numbers: Sequence[int] | None) -> None:
        """Ask for a file, and write conversations to the file. Replace an existing file if the user enters its path twice."""
        existing = ""

        async def write(file: str) -> str:
            nonlocal existing
            replaces, existing = file == existing, ""
            try:
                return await asyncio.to_thread(export_to, file, numbers, self._engines, replaces=replaces)
            except FileExists as error:
                existing = file
                raise InputError("This file exists; enter replaces it.") from error

        self._ask(f"{question} (.md to read, .json or .jsonl for everything)", name, write, "Writing …")

    def action_import(self) -> None:
        self._ask("Import the file", "", self._import, "Reading …")

    async def _import(self, file: str) -> str:
        from paragone_workbench.consent import ConsentNeeded

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
        """Add a file's conversations in a thread. The program does not wait for this thread when it ends."""
        return await run_in_thread(partial(import_from, path, self._engines, allowed))

    def _conversation(self) -> Summary | None:
        """Return the highlighted conversation. If an answer of a suite is highlighted, show a message and return None."""
        found, _ = self._entries.get(self.highlighted, (None, None))
        if isinstance(found, Hit):
            self.say("This is an answer of a suite; enter opens its prompt as a conversation.")
        return found if isinstance(found, Summary) else None

    def _ask(
        self, question: str, value: str, act: fields.Act, meanwhile: str = "", *, takes_empty: bool = False
    ) -> None:

        def answered(done: str | None) -> None:
            if done is not None and self.query("Input"):  # the end of the program may have removed the field
                self.run_worker(self._search(self.words.value.strip(), done), group=ACT)

        self.app.push_screen(
            fields.Question(question, value, act, meanwhile=meanwhile, takes_empty=takes_empty), answered
        )

    async def _changed(self, change: Callable[[Store], object]) -> str:
        """Change the history, and return an empty remark, because the list shows the change."""
        await self._history.call(change)
        return ""

    def _do(self, work: Callable[[], Awaitable[str]]) -> None:
        """Execute an action on the history, list the conversations again, and show the action's message or error."""
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
