"""Answers compared."""
