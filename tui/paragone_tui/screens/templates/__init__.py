"""Prompts from templates: the picker of templates, and the form for the values of variables."""
