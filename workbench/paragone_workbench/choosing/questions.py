"""The suite that comes with paragone, for a choice without a suite of the user's own."""

from __future__ import annotations

from pathlib import Path

QUESTIONS = Path(__file__).with_name("questions.toml")
"""Prompts with assertions: facts, sums, instructions, JSON, and another language."""
