"""Removes secrets from texts of a file that the user may give to others."""

from __future__ import annotations

import re
from pathlib import Path

from paragone.key_text import without_keys
from paragone_workbench.dates import local_date
from paragone_workbench.visible_text import visible


def public(text: str) -> str:
    """Return a text of the program or of an engine as it may be shown to others.

    Passwords in URLs are removed, the user's home folder is `~`, and control characters are visible.
    """
    home = str(Path.home())
    if home != "/":
        text = re.sub(rf"(?<![\w.~/-]){re.escape(home)}(?![\w.-])", "~", text)
    return visible(without_keys(text))


def date_text(seconds: float) -> str:
    """Return a time, in seconds since 1970, as local date and time with the offset from UTC; `?` if the time is invalid."""
    return local_date(seconds, "%Y-%m-%d %H:%M %z")
