"""The picker of earlier prompts: first the prompts of the open conversation, then the prompts of the history."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone.wording import counted
from paragone_tui.key_order import LIST
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.history import History

_SHOWN = 200
_BEGINNING = 200
"""Number of characters of a prompt that its row shows."""


class PromptPicker(Picker[str | None]):
    """Finds an earlier prompt. The picker's result is the text of the prompt, or None."""

    heading = "Earlier prompts"
    placeholder = "Search earlier prompts"
    key_hints = (("enter", "write again"), ("^j ^k", "move"), ("esc", "close"))
    DEFAULT_CSS = "PromptPicker OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, history: History | None, here: Sequence[str]) -> None:
        """Create the picker. `here` are the prompts of the open conversation, newest first."""
        super().__init__()
        self._history = history
        self._here = tuple(dict.fromkeys(here))
        self._earlier: tuple[str, ...] = ()
        self._found: tuple[str, ...] = ()
        """The listed prompts. An option's id is the index of its prompt."""
        self._searched: str | None = None
        self._problem = ""
        """Why the history could not be searched."""

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the prompts that contain all words. For new words, start a search of the history that updates the list."""
        if text != self._searched:
            self._searched = text
            self._earlier = ()
            if self._history is not None:
                self.is_looking = True
                self.run_worker(self._search(self._history, text), group=LIST, exclusive=True)
        words = text.casefold().split()
        here = [prompt for prompt in self._here if all(word in prompt.casefold() for word in words)]
        self._found = tuple(dict.fromkeys((*here, *self._earlier)))
        return [Option(_row(prompt), id=str(number)) for number, prompt in enumerate(self._found)]

    async def _search(self, history: History, text: str) -> None:
        try:
            self._earlier = await history.call(lambda store: store.prompts(text, _SHOWN))
        except StoreError as error:
            self._problem = str(error)
        self.is_looking = False
        self.show()

    def describe(self) -> None:
        """Show that no prompt was found, or why the history could not be searched."""
        nothing = "No earlier prompt has these words." if self._searched else "There is no earlier prompt."
        self.say(self._problem or ("" if self._found or self.is_looking else nothing))

    def pick(self, option_id: str) -> None:
        """Close the picker with the text of the prompt."""
        self.dismiss(self._found[int(option_id)])


def _row(prompt: str) -> Content:
    lines = prompt.count("\n") + 1
    size = f"  {counted(lines, 'line')}" if lines > 1 else ""
    return Content.assemble(one_line(prompt.strip()[:_BEGINNING]), (size, "dim"))
