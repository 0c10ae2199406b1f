"""The sample text: what engines read where only the amount of text matters."""

from __future__ import annotations

from pathlib import Path


def sample_text() -> str:
    """Return a short English text of several kinds, written for paragone: about five windows of 512 tokens."""
    return Path(__file__).with_name("sample.txt").read_text(encoding="utf-8")
