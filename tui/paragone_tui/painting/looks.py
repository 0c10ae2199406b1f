"""Styles of text in the colours of the theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.style import Style
from textual.color import Color
from textual.widget import Widget


class Look(NamedTuple):
    """The difference between the look of a text and the look of a widget's plain text."""

    color: str = ""
    """A variable of Textual's themes; empty for the widget's own colour."""
    ansi: str = ""
    """The style in themes with the terminal's own colours, in Rich's notation, such as `blue` or `dim`."""
    attributes: str = ""
    """The attributes in Rich's notation, such as `bold` or `underline`."""
    adds: bool = False
    """Whether the style is added to other styles. An added style has no background, and a colour only if `color` is set."""
    ground: str = ""
    """A theme variable for the background, which the theme `ansi` ignores; empty for the widget's background."""


def styles_of(widget: Widget, looks: Mapping[str, Look]) -> dict[str, Style]:
    """Return the style of each look on a widget's background, in the current theme.

    Textual's component classes have the same effect, but double the time that styles take at the start: Textual matches
    each class of each widget against the whole style sheet, twice.
    """
    base = widget.rich_style
    own = Color.from_rich_color(base.bgcolor) if base.bgcolor is not None else Color(0, 0, 0)
    app = widget.app
    styles: dict[str, Style] = {}
    for name, look in looks.items():
        style = Style() if look.adds else base
        ground = own
        if look.ground and not app.native_ansi_color:
            ground = _on(own, app.theme_variables[look.ground])
            style += Style(bgcolor=ground.rich_color)
        if app.native_ansi_color:
            style += Style.parse(look.ansi)
        elif look.color:
            style += Style.from_color(_on(ground, app.theme_variables[look.color]).rich_color)
        styles[name] = style + Style.parse(look.attributes)
    return styles


def _on(ground: Color, color: str) -> Color:
    """Return a colour blended with a background. `auto 60%` is 60% of black or white, whichever contrasts more."""
    automatic, _, share = color.partition(" ")
    if automatic == "auto":
        return ground + ground.get_contrast_text(float(share.rstrip("%")) / 100)
    return ground + Color.parse(color)
