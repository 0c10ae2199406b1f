"""Samplers: what selects the next token, and the grammars and schemas that constrain it."""
