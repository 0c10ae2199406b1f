"""Images to go with a prompt."""
