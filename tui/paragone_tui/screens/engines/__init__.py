"""The dialog to pick an engine."""
