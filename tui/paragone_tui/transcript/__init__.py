"""The transcript widget of a lane: prompts, thinking, answers and notes."""

from paragone_tui.transcript.view import Link, Transcript

__all__ = ["Link", "Transcript"]
