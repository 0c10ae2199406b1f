"""The sheet of a fork. It shows for each engine the tokens that it could have chosen, and the rest of its answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from math import exp
from typing import ClassVar

from rich.console import Console
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.getters import query_one
from textual.widgets import Static

from paragone import Alternative
from paragone.texts import shortened
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import bar, one_line, visible
from paragone_tui.transcript.text import heat_look, palette_of
from paragone_tui.widgets.modal import Sheet, hints
from paragone_workbench.compare.divergence import Fork, ForkSide, can_begin_with, quoted

GAP = 3
"""Number of cells between two columns."""
_NARROWEST = 28
"""Minimum width of a column in cells. Columns that would be narrower are shown below each other."""
_TOKEN = 14
"""Largest number of cells of a token's text."""
_FOLLOWING = 400
"""Number of characters of an answer that are shown after the fork."""
_CONSOLE = Console(width=1000, color_system=None)
"""Wraps texts. Nothing is written to this console."""


def _padded(text: Text, cells: int) -> Text:
    text = text.copy()
    text.truncate(cells, overflow="ellipsis", pad=True)
    return text


def _style(look: str, palette: Mapping[str, Style]) -> Style:
    """Return the style of a look from `heat_look`. Unlikely tokens are underlined, since the fork is in reverse video."""
    if look == "heat-unlikely":
        return Style(color=palette[look].color, underline=True)
    return palette[look] if look else Style()


def heat_legend(palette: Mapping[str, Style]) -> Text:
    bands = ("90% or more", ""), ("50%", "heat-likely"), ("10%", "heat-unsure"), ("less", "heat-unlikely")
    shown = [Text(text, style=_style(look, palette)) for text, look in bands]
    sign = Text.assemble(("◂", palette["accent"]), " its choice   probability of each token: ")
    return sign + Text(" · ").join(shown)


def _wrapped(text: str, width: int) -> list[Text]:
    return list(Text(text, style="dim").wrap(_CONSOLE, width))


_WIDTH = 120
"""Largest width in cells of the sheet and its frame."""
_FRAME = 5
"""Width in cells of the frame, of the space inside the frame, and of the scroll bar."""
_OTHER_ROWS = 21
"""Usual number of rows of the sheet without the text after the fork."""
_MOST_ROWS = 8
"""Largest number of rows of the text after the fork."""
_KEYS = (("← →", "engine"), ("↑ ↓", "token"), ("enter", "continue from it"), ("b", "let all continue"))
"""Key hints for a fork whose tokens are known."""
_INEXACT = (
    "The tokens cannot be compared: they were not kept, or the vocabularies may differ. "
    "This is the first different character."
)
_BEFORE = 160
"""Number of characters that are shown of the text before the fork."""


class DivergenceSheet(Sheet):
    BINDINGS: ClassVar[list[BindingType]] = [
        closing_binding("divergence"),
        Binding("left,h", "move(-1, 0)", "The engine to the left", show=False),
        Binding("right,l", "move(1, 0)", "The engine to the right", show=False),
        Binding("up,k", "move(0, -1)", "The token above", show=False),
        Binding("down,j", "move(0, 1)", "The token below", show=False),
        Binding("<", "step(-1)", "The fork before"),
        Binding(">", "step(1)", "The next fork"),
        Binding("enter", "choose(False)", "Continue from this token"),
        Binding("b", "choose(True)", "Let all engines continue from this token"),
    ]

    content = query_one("#sheet Static", Static)

    def __init__(
        self,
        prompt: str,
        forks: Sequence[Fork],
        first: int,
        go_on: Callable[[Fork, Alternative, Sequence[ForkSide]], None] | None,
    ) -> None:
        """Create the sheet of the forks of the answers to a prompt. `first` is the index of the fork to show first. `go_on`
        is called with the shown fork, the token that the user chose there, and the answers that continue from it; None
        if no lane has these answers."""
        super().__init__()
        self._prompt = prompt
        self._forks = forks
        self._go_on = go_on
        self._remark = ""
        self._select(first)

    def _select(self, number: int) -> None:
        self._number = number
        fork = self._fork = self._forks[number]
        reference, candidate, *_ = fork.sides
        place = "Where" if fork.place.token is None else f"Token {fork.place.token + 1:,}: where"
        several = f" · fork {number + 1} of {len(self._forks)}" if len(self._forks) > 1 else ""
        self.heading = one_line(f"{place} {candidate.name} diverges from {reference.name}{several}")
        self._known = [at for at, side in enumerate(fork.sides) if side.choices]
        """Indices of the engines whose tokens are known."""
        self._column = 1 if 1 in self._known or not self._known else self._known[0]
        others = (at for at, choice in enumerate(self._side.choices) if not self._side.is_own(choice))
        self._row = next(others, 0)

    def action_step(self, offset: int) -> None:
        number = self._number + offset
        if 0 <= number < len(self._forks):
            self._select(number)
            self.scroll.border_title = self.heading
            self._show_remark("")
        elif len(self._forks) > 1:
            self._show_remark("This is the last fork." if offset > 0 else "This is the first fork.")
        else:
            self._show_remark("The answers diverge only at this place.")

    def parts(self) -> Iterator[Text]:
        """Yield an empty text. `_show` fills in the text once the width is known."""
        yield Text()

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._show)  # later, when Textual has computed the application's new height

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.call_after_refresh(self._show)

    @property
    def _side(self) -> ForkSide:
        """The answer whose token is chosen."""
        return self._fork.sides[self._column]

    def action_move(self, columns: int, rows: int) -> None:
        if not self._known:
            return
        at = self._known.index(self._column) + columns
        self._column = self._known[max(0, min(at, len(self._known) - 1))]
        self._row = max(0, min(self._row + rows, len(self._side.choices) - 1))
        self._show_remark("")

    def action_choose(self, everyone: bool) -> None:
        if not self._known:
            self._show_remark("The tokens were not kept. Answer again to keep them.")
            return
        if self._go_on is None:
            self._show_remark("No lane has this answer, so none can continue it.")
            return
        token = self._side.choices[self._row]
        if not can_begin_with(token):
            self._show_remark(f"{quoted(token.text)} cannot be written into an answer. Choose another token.")
            return
        sides = self._fork.sides if everyone else (self._side,)
        self.dismiss()
        self._go_on(self._fork, token, [side for side in sides if not side.parted_earlier])

    @property
    def _keys(self) -> Sequence[tuple[str, str]]:
        if not self._known:
            return ()
        return _KEYS if self._go_on is not None else _KEYS[:2]

    def _show_remark(self, message: str) -> None:
        self._remark = message
        self._show()

    def _show(self) -> None:
        if not self.is_attached:
            return
        forks = [("< >", "fork")] if len(self._forks) > 1 else []
        self.scroll.border_subtitle = hints([*self._keys, *forks, ("esc", "back")])
        self.scroll.styles.width = _WIDTH
        width = min(_WIDTH, self.app.size.width) - _FRAME
        self.content.update(Text("\n").join(self._rows(width)))

    def _rows(self, width: int) -> Iterator[Text]:
        fork = self._fork
        before = fork.before[-_BEFORE:]
        cut = "…" if len(before) < len(fork.before) else ""
        self._palette = palette_of(self.scroll)
        prompt = Text(shortened(one_line(fork.prompt or self._prompt), 2 * width), style="bold")
        yield Text.assemble(("▎ ", self._palette["accent"])) + prompt
        yield Text(f"  {cut}{visible(before)} …" if before else "  From the start …")
        yield Text()
        yield from self._columns(width)
        if self._remark:
            yield Text(visible(self._remark), style="bold")
        elif fork.greedy_sentence:
            yield Text(visible(fork.greedy_sentence))
        if not fork.is_exact:
            yield Text(_INEXACT)
        if any(side.choices for side in fork.sides):
            yield heat_legend(self._palette)

    def _columns(self, width: int) -> Iterator[Text]:
        """Yield the rows of all engines, side by side if `width` cells are enough."""
        sides = self._fork.sides
        abreast = min(max(1, (width + GAP) // (_NARROWEST + GAP)), len(sides))
        cells = (width + GAP) // abreast - GAP
        for first in range(0, len(sides), abreast):
            columns = [self._sections(side, cells) for side in sides[first : first + abreast]]
            for sections in zip(*columns, strict=True):  # each section begins on the same row in all columns
                for rows in zip_longest(*sections, fillvalue=Text()):
                    yield Text(" " * GAP).join(_padded(row, cells) for row in rows)
                if any(sections):
                    yield Text()

    def _sections(self, side: ForkSide, width: int) -> tuple[list[Text], ...]:
        """Return the four sections of a column: the engine's name, its tokens, its confidence, and the rest of its answer."""
        bold = Style(bold=True)
        style = self._palette["accent"] + bold if side is self._side else bold
        name = [Text(("◆ " if side is self._fork.sides[0] else "") + one_line(side.name), style=style)]
        rest = list(self._rest(side, width))
        if side.parted_earlier:
            why, rest = "This answer diverges earlier: its tokens here follow another text.", []
        elif side.index is None:
            why = "The tokens of this answer were not kept. Answer again to see them."
        elif side.token is not None:
            return name, list(self._choices(side, width)), _wrapped(visible(side.sentence), width), rest
        elif side.answer.finish == "stop":
            why, rest = "The engine ended its answer here.", []
        else:
            why, rest = "The answer was cut before this place.", []
        return name, [], _wrapped(why, width), rest

    def _choices(self, side: ForkSide, width: int) -> Iterator[Text]:
        """Yield a row for each token: its text, a bar, its probability, and ◂ if the engine chose this token."""
        accent = self._palette["accent"]
        shown = [visible(quoted(choice.text)) for choice in side.choices]
        cells = min(_TOKEN, max((Text(text).cell_len for text in shown), default=0))
        for at, (choice, text) in enumerate(zip(side.choices, shown, strict=True)):
            own, is_selected = side.is_own(choice), side is self._side and at == self._row
            row = Text.assemble(("▸ " if is_selected else "  ", accent))
            row.append_text(_padded(Text(text, style="bold" if own else ""), cells))
            room = max(1, width - cells - 13)
            filled = bar(exp(choice.logprob), room)
            style = Style(color=self._palette[heat_look(choice.logprob) or "heat-likely"].color)
            row.append(" " + filled + " " * (room - Text(filled).cell_len), style=style)
            row.append(f" {exp(choice.logprob):6.1%}", style="bold" if own else "")
            row.append(" ◂" if own else "", style=accent)
            if is_selected:
                row.stylize("reverse", 2, 2 + min(len(text), cells))
            yield row

    def _rest(self, side: ForkSide, width: int) -> Iterator[Text]:
        """Yield the rows of the answer from the fork on, as many as fit into the terminal."""
        text = Text()
        if side.index is None:
            text.append(visible(side.answer.text[len(self._fork.before) :][:_FOLLOWING]))
        for at, token in enumerate(side.answer.tokens[side.index :] if side.index is not None else ()):
            if len(text) > _FOLLOWING or (token.text and token.channel != self._fork.channel):
                break
            place = Style(reverse=True, bold=True) if not at else Style()
            word = visible(token.text).lstrip(" ")
            if at:
                text.append(" " * (len(visible(token.text)) - len(word)))
            look = heat_look(token.logprob) if token.logprob is not None else ""
            text.append(word, style=_style(look, self._palette) + place)
        most = max(3, min(self.app.size.height - _OTHER_ROWS, _MOST_ROWS))
        rows = text.wrap(_CONSOLE, width)
        yield from rows[:most]
        if len(rows) > most:
            yield Text("…", style="dim")
