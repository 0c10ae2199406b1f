"""Typesets answers as Markdown. Slow to import, so only imported for the first answer, in a thread."""
