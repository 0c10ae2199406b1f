"""The built-in themes, and the user's own themes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from paragone_workbench.config.settings import ThemeSettings

DEFAULT = "dark"
ANSI = "ansi"

_COLOURS: Mapping[str, Mapping[str, str]] = {
    theme: dict(
        zip(
            (
                "background",
                "surface",
                "line",
                "foreground",
                "dim",
                "accent",
                "code",
                "difference",
                "failure",
                "likely",
            ),
            colours.split(),
            strict=True,
        )
    )
    for theme, colours in {
        "dark": "#15171c #1f232b #3b4250 #d9dde5 #9ba4b3 #79b4ff #83ccc4 #e8b04b #ff8b81 #93d58d",
        "light": "#fbfaf7 #f0eee8 #c8c4ba #22262c #535963 #0b5aa8 #0b6a68 #875000 #b3251c #2b6a1e",
        "contrast": "#000000 #14161a #8a8f99 #ffffff #c4c8cf #8fd0ff #7ff0e4 #ffd043 #ffa59c #a6f29b",
    }.items()
}
OWN = (*_COLOURS, ANSI)


def themes(own: Mapping[str, ThemeSettings]) -> Iterator[Theme]:
    for name, colours in _COLOURS.items():
        yield _theme(name, colours, dark=name != "light")
    yield _with_terminals_own_colours()
    for name, settings in own.items():
        yield _theme(name, {**_COLOURS[settings.base], **settings.colours}, dark=settings.base != "light")


def _with_terminals_own_colours() -> Theme:
    """Return the theme `ansi`. The highlighted option is underlined, so that the user sees it without colours."""
    base = BUILTIN_THEMES["ansi-dark"]
    looks = {"foreground": "ansi_default", "background": "ansi_default", "text-style": "bold underline"}
    cursors = {
        f"block-cursor{state}-{part}": look for state in ("", "-blurred") for part, look in looks.items()
    }
    # Not plain blue, which is too dark in the palettes of many terminals.
    return replace(base, name=ANSI, primary="ansi_bright_blue", variables={**base.variables, **cursors})


def _theme(name: str, colours: Mapping[str, str], *, dark: bool) -> Theme:
    background, foreground, accent = colours["background"], colours["foreground"], colours["accent"]
    surface = Color.parse(colours["surface"])
    return Theme(
        name=name,
        dark=dark,
        primary=accent,
        secondary=colours["code"],
        accent=accent,
        warning=colours["difference"],
        error=colours["failure"],
        success=colours["likely"],
        foreground=foreground,
        background=background,
        surface=surface.hex,
        panel=surface.hex,
        variables={
            "text-muted": colours["dim"],
            "text-disabled": colours["dim"],
            "text-primary": accent,
            "text-secondary": colours["code"],
            "text-warning": colours["difference"],
            "text-error": colours["failure"],
            "text-success": colours["likely"],
            "surface-lighten-1": surface.blend(Color.parse(foreground), 0.06).hex,
            "surface-lighten-2": colours["line"],
            "block-cursor-foreground": background,
            "block-cursor-background": accent,
            "block-cursor-blurred-background": surface.blend(Color.parse(accent), 0.07).hex,
            "scrollbar": colours["line"],
            "scrollbar-background": surface.hex,
        },
    )
