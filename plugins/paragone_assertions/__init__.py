"""The assertions that come with paragone, as an ordinary plugin."""
