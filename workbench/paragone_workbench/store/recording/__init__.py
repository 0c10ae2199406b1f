"""Saves conversations while they grow."""
