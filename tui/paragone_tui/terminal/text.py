"""Makes text from models and endpoints safe to print: control characters become visible signs."""

from __future__ import annotations

from paragone_workbench.visible_text import visible

__all__ = ["one_line", "visible"]


def one_line(text: str) -> str:
    """Return text made safe to print, on one line."""
    return visible(text).replace("\n", " ")
