"""The dialog to pick an earlier conversation."""
