"""The base class of dialogs to pick an option, with the words that the user searched for marked."""

import sys
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.screen import ScreenResultType
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.fields import LineField
from paragone_tui.widgets.modal import Modal, hints
from paragone_workbench.store.records import any_word_pattern

FOUND = "bold reverse $text-warning"
"""The style of the words that the user searched for, which differs from the highlighted option even without colours."""


def marked(text: str, words: Collection[str], style: str = "") -> Iterator[tuple[str, str]]:
    """Yield the parts of a text on one line with their styles: `FOUND` for the words, `style` for the rest."""
    line, end = one_line(text), 0
    for found in any_word_pattern(words).finditer(line):
        yield line[end : found.start()], style
        yield found[0], FOUND
        end = found.end()
    yield line[end:], style


LONGEST = 1000
"""Largest number of characters in the field. Textual's time for a key press grows with the length of the text."""
_CLOSING = ("escape", "ctrl+c")
_EDITING = (
    "backspace", "delete", "left", "right", "home", "end", "ctrl+a", "ctrl+e", "ctrl+left", "ctrl+right", "ctrl+u", "ctrl+w",
)  # fmt: skip
"""Keys that edit the text in the field."""
_AROUND_KEYS = 4
"""Number of cells of the lower edge that the key hints leave free."""


class _Field(LineField):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+j", "screen.move(1)", "Down", show=False),
        Binding("up,ctrl+k", "screen.move(-1)", "Up", show=False),
    ]

    def restricted(self) -> None:
        self.notify(f"This field takes at most {LONGEST:,} characters.", severity="warning")


class Picker(Modal[ScreenResultType]):
    """A dialog to pick an option. Up and down move the highlight, and Enter picks. The field keeps the focus."""

    AUTO_FOCUS = "Input"
    DEFAULT_CSS = """
    Picker {
        #picker { height: 24; }
        #picker Input { border: none; height: 1; padding: 0 1; background: $surface; }
        #picker OptionList { border: none; height: 1fr; background: $surface; scrollbar-size-vertical: 1; }
        #remark { height: auto; padding: 0 1; color: $text-muted; display: none; }
    }
    """
    heading: ClassVar[str]
    placeholder: ClassVar[str]
    key_hints: ClassVar[Sequence[tuple[str, str]]] = [("enter", "pick"), ("^j ^k", "move"), ("esc", "close")]
    """The dialog's keys, each with a word for its effect, shown at the lower edge."""

    is_looking = False
    _offered: Sequence[tuple[str, str]] = ()
    """The keys for the lower edge, including keys for which there is no room."""
    _is_new_text = True
    """Whether the text has changed since all its options were listed: then the first matching option is highlighted."""

    words = query_one(Input)
    options = query_one(OptionList)
    remark = query_one("#remark", Static)

    @property
    def early_keys(self) -> tuple[str, ...]:
        return (*_CLOSING, *_EDITING) if self.words.has_focus else _CLOSING

    @property
    def highlighted(self) -> str:
        option = self.options.highlighted_option
        return "" if option is None or option.disabled else option.id or ""

    @abstractmethod
    def fitting(self, text: str) -> Sequence[Option]:
        """Return the options that match the text in the field. Options that cannot be picked are disabled."""

    @abstractmethod
    def pick(self, option_id: str) -> None:
        """Handle the picked option, usually by closing the picker with it."""

    def pick_nothing(self) -> None:
        """Handle Enter where no option can be picked."""

    def describe(self) -> None:
        """Show a remark about the highlighted option or the list. Called when the highlight or the list changes."""

    def is_offered(self, option_id: str) -> bool:
        """Return whether the picker may highlight an option by itself when the list changes."""
        del option_id
        return True

    def compose(self) -> ComposeResult:
        with Vertical(id="picker", classes="framed") as box:
            box.border_title = self.heading
            yield _Field(placeholder=self.placeholder, select_on_focus=False, max_length=LONGEST)
            yield OptionList(markup=False)
            yield Static(id="remark", markup=False)

    def on_mount(self) -> None:
        self.offer(self._offered or self.key_hints)  # a subclass may have set `_offered`
        self.show()

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.offer(self._offered))

    def offer(self, keys: Sequence[tuple[str, str]]) -> None:
        """Show these keys at the lower edge: the last key, which closes the dialog, and as many other keys as fit."""
        self._offered = keys
        if not self.leaving and self.is_attached:
            box = self.query_one("#picker")
            room = (box.size.width or sys.maxsize) - _AROUND_KEYS
            box.border_subtitle = hints(keys[:-1], room, last=keys[-1])

    def say(self, remark: str) -> None:
        self.remark.update(visible(remark))
        self.remark.display = bool(remark)

    @on(Input.Changed)
    def _typed(self) -> None:
        self._is_new_text = True
        self.show()

    def show(self) -> None:
        """List the matching options. For the same text, keep the highlight. If no option is offered, highlight one
        only for typed text."""
        if self.leaving:
            return  # the list may have been removed
        text = self.words.value.strip()
        options = self.fitting(text)
        kept = "" if self._is_new_text else self.highlighted
        self._is_new_text = self._is_new_text and self.is_looking
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
        self.describe()

    def action_move(self, step: int) -> None:
        if step < 0:
            self.options.action_cursor_up()
        else:
            self.options.action_cursor_down()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        # The list's own message would arrive later, when typing may have changed the list.
        if self.highlighted:
            self.pick(self.highlighted)
        else:
            self.pick_nothing()

    @on(OptionList.OptionHighlighted)
    def _describe(self) -> None:
        if not self.leaving:  # Textual may have removed the line for remarks with the dialog
            self.describe()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None and event.option in self.options.options:
            self.pick(event.option_id)
