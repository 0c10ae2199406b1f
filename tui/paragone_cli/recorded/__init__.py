"""Commands for the records of the history: list them, repeat them, write reports of them."""
