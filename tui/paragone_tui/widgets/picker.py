"""The base class of pickers: an input field and a list of options that match it."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.screen import ScreenResultType
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from paragone_tui.terminal.text import visible
from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.line_field import LineField
from paragone_tui.widgets.modal import Modal

LONGEST = 1000
"""Number of characters that the field takes. Each key costs Textual time in proportion to those before it."""
_AROUND_KEYS = 4
"""Cells of the lower edge that the keys leave free."""


class _Field(LineField):
    """An input field whose keys for the next and the previous line move the highlight of the list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+j", "screen.move(1)", "Down", show=False),
        Binding("up,ctrl+k", "screen.move(-1)", "Up", show=False),
    ]

    def restricted(self) -> None:
        """Say why the field refuses the text that was typed or pasted."""
        self.notify(f"This field takes at most {LONGEST:,} characters.", severity="warning")


class Picker(Modal[ScreenResultType]):
    """A dialog to pick an option. Up and down move the highlight, Enter picks; the field keeps the focus."""

    AUTO_FOCUS = "Input"
    CSS = """
    Picker {
        #picker { height: 24; }
        Input { border: none; height: 1; padding: 0 1; background: $surface; }
        OptionList { border: none; height: 1fr; background: $surface; scrollbar-size-vertical: 1; }
        #remark { height: auto; padding: 0 1; color: $text-muted; display: none; }
    }
    """
    heading: ClassVar[str]
    placeholder: ClassVar[str]
    key_hints: ClassVar[Sequence[tuple[str, str]]] = [("enter", "pick"), ("^j ^k", "move"), ("esc", "close")]
    """The keys of the dialog, each with a word for what it does; shown at its lower edge."""

    is_looking = False
    """Whether more options may come."""
    is_outdated = False
    """Whether the options are those of an earlier text, so that none of them is picked."""
    _offered: Sequence[tuple[str, str]] = ()
    """The keys that are shown, or would be if they fitted."""
    _picks = False
    """Whether Enter was pressed before there was an option for the text: the first one that fits is picked."""

    words = query_one(Input)
    options = query_one(OptionList)
    remark = query_one("#remark", Static)

    @abstractmethod
    def fitting(self, text: str) -> Sequence[Option]:
        """Return the options that match the text in the field. Options that cannot be picked are disabled."""

    @abstractmethod
    def pick(self, option_id: str) -> None:
        """Handle the picked option, usually by closing the picker with it."""

    def pick_nothing(self) -> None:
        """Handle Enter where no option can be picked."""

    def describe(self) -> None:
        """Say something about the highlighted option or the list. Called when either changes."""

    def is_offered(self, option_id: str) -> bool:
        """Return whether an option is highlighted without the user moving to it, when the list changes."""
        del option_id
        return True

    def compose(self) -> ComposeResult:
        """Create the input field, the list, and a line for remarks."""
        with Vertical(id="picker", classes="framed") as box:
            box.border_title = self.heading
            yield _Field(placeholder=self.placeholder, select_on_focus=False, max_length=LONGEST)
            yield OptionList(markup=False)
            yield Static(id="remark", markup=False)

    def on_mount(self) -> None:
        """List the options for an empty field."""
        self.offer(self._offered or self.key_hints)  # those of a subclass, which mounts first
        self.show()

    def on_resize(self) -> None:
        """Show as many keys as fit now."""
        self.call_after_refresh(lambda: self.offer(self._offered))

    def offer(self, keys: Sequence[tuple[str, str]]) -> None:
        """Show these keys at the lower edge: the last one, which closes the dialog, and as many others as fit in whole."""
        self._offered = keys
        if not self.leaving and self.is_attached:
            box = self.query_one("#picker")
            room = (box.size.width or sys.maxsize) - _AROUND_KEYS
            box.border_subtitle = hints(keys[:-1], room, last=keys[-1])

    def say(self, remark: str) -> None:
        """Show a remark below the list; with an empty one, hide the line."""
        self.remark.update(visible(remark))
        self.remark.display = bool(remark)

    @on(Input.Changed)
    def _typed(self) -> None:
        self._picks = False
        self.show()

    def show(self) -> None:
        """List the options that match, and keep the highlighted one if it is still among them.

        Of options that are not offered, the first is highlighted only if the user searches for it.
        """
        if self.leaving:
            return  # the list may have been removed
        text = self.words.value.strip()
        options = self.fitting(text)
        kept = self.options.highlighted_option.id if self.options.highlighted_option else None
        self.options.clear_options()
        self.options.add_options(options)
        enabled = {
            number: option.id
            for number, option in enumerate(options)
            if not option.disabled and option.id is not None
        }
        offered = [number for number, option_id in enabled.items() if self.is_offered(option_id)]
        again = (number for number in offered if enabled[number] == kept)
        first = next(iter(offered or (enabled if text else ())), None)
        self.options.highlighted = next(again, first)
        if self._picks and self.options.highlighted is not None:
            self._submitted()
        self._picks = self._picks and (self.is_looking or self.is_outdated)
        if not self.leaving:
            self.describe()

    def action_move(self, step: int) -> None:
        """Move the highlight up (-1) or down (1)."""
        if step < 0:
            self.options.action_cursor_up()
        else:
            self.options.action_cursor_down()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        # At once: typing may change the list before a message of the list arrives.
        option = self.options.highlighted_option
        if option is not None and option.id is not None and not option.disabled:
            self._pick(option.id)
        else:
            self._picks = self.is_looking or self.is_outdated
            self.pick_nothing()

    def _pick(self, option_id: str) -> None:
        if self.is_outdated:
            self._picks = True
        else:
            self.pick(option_id)

    @on(OptionList.OptionHighlighted)
    def _describe(self) -> None:
        if not self.leaving:  # the line may have been removed with the dialog
            self.describe()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None and event.option in self.options.options:
            self._pick(event.option_id)
