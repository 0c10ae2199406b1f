"""Prompts from templates: picking one, and the values of its variables."""
