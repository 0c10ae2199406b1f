"""The styles of a transcript, in the colours of Textual's theme."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Literal, TypeAlias

from rich.style import Style
from textual.widget import Widget

from paragone_tui.painting.looks import Look, styles_of

Tone: TypeAlias = Literal["prompt", "turn", "thinking", "answer", "note", "caution", "error", "log", "hint"]
TranscriptStyles: TypeAlias = Mapping[str, Style]
"""Styles by name: each tone (`turn` is the prompt of the selected turn), the sign beside the tone's text (`prompt-mark`),
`accent`, `code` and `more`. Marks add the styles `differs`, `shares`, `diverges` and the bands of probability
(`heat-likely` …) to the style of the text."""

_ACCENT = Look("primary", "bright_blue")
_QUIET = Look("text-muted", "dim")
_WARNING = Look("text-warning", "magenta")
_ERROR = Look("text-error", "red")
_LOOKS: Mapping[str, Look] = {
    "answer": Look(),
    "prompt": Look(attributes="bold"),
    "prompt-mark": _ACCENT,
    "turn": Look("primary", "blue", "bold"),
    "turn-mark": _ACCENT,
    "thinking": _QUIET,
    "thinking-mark": _QUIET,
    "note": _QUIET,
    "note-mark": _QUIET,
    "caution": _WARNING,
    "caution-mark": _WARNING,
    "error": _ERROR,
    "error-mark": _ERROR,
    "log": _QUIET,
    "log-mark": _ERROR,
    "hint": Look(),
    "hint-mark": _ACCENT,
    "code": Look("text-secondary", "magenta"),
    "code-block": Look(ground="surface"),
    "code-comment": Look("text-muted", "dim", "italic", ground="surface"),
    "code-keyword": Look("text-primary", "bright_blue", ground="surface"),
    "code-name": Look("text-secondary", "magenta", ground="surface"),
    "code-number": Look("text-warning", "magenta", ground="surface"),
    "code-string": Look("text-success", "green", ground="surface"),
    "accent": _ACCENT,
    "more": _ACCENT,
    "differs": Look("text-warning", "", "underline", adds=True),
    "shares": Look(attributes="underline", adds=True),
    "diverges": Look(attributes="reverse bold", adds=True),
    "heat-likely": Look("text-success", "green", "italic", adds=True),
    "heat-unsure": Look("text-warning", "magenta", "bold", adds=True),
    "heat-unlikely": Look("text-error", "red", "reverse", adds=True),
}

_BANDS = ((0.9, ""), (0.5, "heat-likely"), (0.1, "heat-unsure"), (0.0, "heat-unlikely"))
"""The bands of probability by which tokens are coloured: the lowest probability of a band, and the band's look."""


def heat_look(logprob: float) -> str:
    """Return the look of a token with this log-probability; empty for a token that was almost certain."""
    return next(look for least, look in _BANDS if exp(logprob) >= least)


def palette_of(transcript: Widget) -> TranscriptStyles:
    return styles_of(transcript, _LOOKS)
