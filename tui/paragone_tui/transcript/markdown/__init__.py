"""Typesets answers as Markdown. Importing this package is slow, so a thread imports it for the first answer."""
