"""The dialog to attach images to a prompt."""
