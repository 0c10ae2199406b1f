"""Styles of text by colours of the theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.style import Style
from textual.color import Color
from textual.widget import Widget


class Look(NamedTuple):
    """How text differs from the other text of a widget."""

    color: str = ""
    """A variable of Textual's themes; empty for the widget's own colour."""
    ansi: str = ""
    """The look in themes that use the terminal's own colours, as in Rich's styles: `blue`, `dim` …"""
    attributes: str = ""
    """As in Rich's styles: `bold`, `underline` …"""
    adds: bool = False
    """Whether the style is to be added to others: it has no background, and no colour unless one is given."""
    ground: str = ""
    """The background, as a variable of the themes; empty for the widget's own, which the terminal's own colours keep."""


def styles_of(widget: Widget, looks: Mapping[str, Look]) -> dict[str, Style]:
    """Return the styles of these looks on a widget's background, in the current theme.

    Textual's component classes have the same effect, but double the time for styles at the start: Textual matches each
    class of each widget against the whole style sheet, twice.
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
    """Return a colour as it looks on a background. `auto 60%` is black or white, whichever can be read, at 60%."""
    automatic, _, share = color.partition(" ")
    if automatic == "auto":
        return ground + ground.get_contrast_text(float(share.rstrip("%")) / 100)
    return ground + Color.parse(color)
