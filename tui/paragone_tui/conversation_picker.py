"""Picking an earlier conversation, by looking or by searching in what was said."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from paragone_tui.clean import visible
from paragone_tui.modal import Modal
from paragone_workbench.store import Store, StoreError

__all__ = ["ConversationPicker"]

_SHOWN = 200


class ConversationPicker(Modal[int | None]):
    """Returns the conversation that was picked, or None."""

    AUTO_FOCUS = "#words"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "Close"),
        ("up", "move(-1)", "Up"),
        ("down", "move(1)", "Down"),
    ]
    CSS = """
    ConversationPicker {
        align: center middle;
        #picker {
            width: 100; max-width: 100%; height: 24; max-height: 100%;
            border: round $primary; background: $surface;
        }
        Input { border: none; height: 1; padding: 0 1; background: $surface; }
        OptionList { border: none; height: 1fr; background: $surface; scrollbar-size-vertical: 1; }
        #nothing { height: 1; padding: 0 1; color: $text-muted; display: none; }
    }
    """

    words = query_one("#words", Input)
    options = query_one(OptionList)
    nothing = query_one("#nothing", Static)

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def compose(self) -> ComposeResult:
        """A field to search with, and the list."""
        with Vertical(id="picker"):
            field = Input(placeholder="Search in everything that was said", id="words", select_on_focus=False)
            field.cursor_blink = False
            yield field
            yield OptionList(markup=False)
            yield Static("Nothing found.", id="nothing", markup=False)

    def on_mount(self) -> None:
        """List the latest."""
        self.query_one("#picker").border_title = "Earlier conversations"
        self._show()

    @on(Input.Changed)
    def _show(self) -> None:
        text = self.words.value.strip()
        try:
            options = self._found(text) if text else self._latest()
        except StoreError as error:
            options = []
            self.nothing.update(str(error))
        self.options.clear_options()
        self.options.add_options(options)
        self.nothing.display = not options
        if options:
            self.options.highlighted = 0

    def _latest(self) -> list[Option]:
        return [
            Option(
                Content.assemble(
                    (_one_line(it.title), "bold"),
                    (
                        f"  {_when(it.updated)} · {it.prompts} prompts · {_one_line(', '.join(it.engines))}",
                        "dim",
                    ),
                ),
                id=str(it.id),
            )
            for it in self._store.conversations(_SHOWN)
        ]

    def _found(self, text: str) -> list[Option]:
        options: list[Option] = []
        seen: set[int] = set()
        for hit in self._store.search(text, _SHOWN):
            if hit.conversation_id not in seen:
                seen.add(hit.conversation_id)
                snippet = f"\n  {_one_line(hit.snippet)}"
                options.append(
                    Option(
                        Content.assemble(
                            (_one_line(hit.title), "bold"), (f"  {_when(hit.time)}", "dim"), (snippet, "dim")
                        ),
                        id=str(hit.conversation_id),
                    )
                )
        return options

    def action_move(self, step: int) -> None:
        """Move the highlight."""
        if step < 0:
            self.options.action_cursor_up()
        else:
            self.options.action_cursor_down()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if self.options.highlighted is not None:
            self.options.action_select()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(int(event.option_id or 0))


def _one_line(text: str) -> str:
    return visible(text).replace("\n", " ")


def _when(moment: float) -> str:
    here = time.localtime(moment)
    today = time.strftime("%Y-%m-%d", here) == time.strftime("%Y-%m-%d")
    return time.strftime("%H:%M" if today else "%Y-%m-%d", here)
