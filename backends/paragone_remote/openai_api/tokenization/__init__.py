"""Tokens of prompts, vocabularies, and the likeliest tokens, from servers that report them."""
