"""The sections `[themes.NAME]` of config.toml, which declare the user's own themes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from paragone import Options, option

BaseTheme: TypeAlias = Literal["dark", "light", "contrast"]
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThemeSettings(Options):
    """The section of a theme. The theme `base` supplies the colours that the section does not set."""

    base: BaseTheme = option("dark", "The theme that supplies the colours that are not set.")  # noqa: RUF009 (frozen)
    background: str | None = option(None, "The background.")
    surface: str | None = option(None, "The background of dialogs and of code.")
    line: str | None = option(None, "Lines between lanes and around fields.")
    foreground: str | None = option(None, "Text.")
    dim: str | None = option(None, "Units, hints and notes.")
    accent: str | None = option(None, "The current lane, prompts and headings.")
    code: str | None = option(None, "Code within text.")
    difference: str | None = option(None, "Words that differ, and warnings.")
    failure: str | None = option(None, "Errors, and tokens that were unlikely.")
    likely: str | None = option(None, "Tokens that were likely, and texts within code.")

    @property
    def colours(self) -> Mapping[str, str]:
        """The colours that the section sets, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if name != "base" and value is not None}


def is_colour(value: str) -> bool:
    """Return whether a text is a colour, such as `#1e90ff`."""
    return _COLOUR.fullmatch(value) is not None
