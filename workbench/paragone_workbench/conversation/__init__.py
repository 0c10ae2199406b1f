"""Prompts, their images, and the tree that the prompts of a conversation form."""
