"""Extracts parts of Markdown pages."""

import re
from pathlib import Path


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks in a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(page: Path, heading: str) -> str:
    """Return the section under a heading, up to the next heading of the same level."""
    level = heading.partition(" ")[0]
    return prose(page).partition(f"\n{heading}\n")[2].partition(f"\n{level} ")[0]
