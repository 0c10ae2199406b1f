"""The styles of a transcript, from Textual's theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from rich.style import Style
from textual.widget import Widget

__all__ = ["COMPONENTS", "CSS", "Palette", "Tone", "palette_of"]

Tone: TypeAlias = Literal["prompt", "thinking", "answer", "note", "caution", "error", "log", "hint"]
Palette: TypeAlias = Mapping[str, Style]
"""Styles by name: each tone, the mark beside it (`prompt-mark`), `accent`, `code` and `more`; and what
marks in the text add to its style: `differs`, `diverges`, and the bands of probability (`heat-likely` …)."""

_STYLED = (
    "prompt",
    "prompt-mark",
    "thinking",
    "thinking-mark",
    "note",
    "note-mark",
    "caution",
    "caution-mark",
    "error",
    "error-mark",
    "log",
    "log-mark",
    "hint",
    "hint-mark",
    "code",
    "accent",
    "more",
)
_LOOKS = ("differs", "diverges", "heat-likely", "heat-unsure", "heat-unlikely")
COMPONENTS: frozenset[str] = frozenset(f"transcript--{name}" for name in (*_STYLED, *_LOOKS))
CSS = """
Transcript {
    width: 1fr;
    height: 1fr;
    background: $background;
    color: $foreground;
    & > .transcript--prompt { text-style: bold; }
    & > .transcript--prompt-mark, & > .transcript--accent, & > .transcript--more { color: $primary; }
    & > .transcript--thinking, & > .transcript--thinking-mark { color: $text-muted; }
    & > .transcript--note, & > .transcript--note-mark { color: $text-muted; }
    & > .transcript--caution, & > .transcript--caution-mark { color: $text-warning; }
    & > .transcript--error, & > .transcript--error-mark { color: $text-error; }
    & > .transcript--log { color: $text-muted; }
    & > .transcript--log-mark { color: $text-error; }
    & > .transcript--hint-mark { color: $primary; }
    & > .transcript--code { color: $text-secondary; }
    & > .transcript--differs { text-style: underline; color: $text-warning; }
    & > .transcript--diverges { text-style: reverse bold; }
    & > .transcript--heat-likely { text-style: italic; color: $text-success; }
    & > .transcript--heat-unsure { text-style: bold; color: $text-warning; }
    & > .transcript--heat-unlikely { text-style: reverse; color: $text-error; }
}
Transcript:ansi {
    & > .transcript--prompt-mark, & > .transcript--accent, & > .transcript--more { color: ansi_blue; }
    & > .transcript--thinking, & > .transcript--thinking-mark { color: ansi_bright_black; }
    & > .transcript--note, & > .transcript--note-mark { color: ansi_bright_black; }
    & > .transcript--caution, & > .transcript--caution-mark { color: ansi_yellow; }
    & > .transcript--error, & > .transcript--error-mark { color: ansi_red; }
    & > .transcript--log { color: ansi_bright_black; }
    & > .transcript--log-mark { color: ansi_red; }
    & > .transcript--hint-mark { color: ansi_blue; }
    & > .transcript--code { color: ansi_cyan; }
    & > .transcript--differs { color: ansi_yellow; }
    & > .transcript--heat-likely { color: ansi_green; }
    & > .transcript--heat-unsure { color: ansi_yellow; }
    & > .transcript--heat-unlikely { color: ansi_red; }
}
"""


def palette_of(transcript: Widget) -> Palette:
    """Return the styles of a transcript in the current theme."""
    styles = {name: transcript.get_component_rich_style(f"transcript--{name}") for name in _STYLED}
    looks = {
        name: transcript.get_component_rich_style(f"transcript--{name}", partial=True) for name in _LOOKS
    }
    return {"answer": transcript.rich_style, **styles, **looks}
