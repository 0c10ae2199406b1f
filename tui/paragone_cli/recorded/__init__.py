"""Commands for what the history has: list it, repeat it, write reports of it."""
