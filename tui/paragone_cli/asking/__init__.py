"""Commands that send a prompt to engines."""
