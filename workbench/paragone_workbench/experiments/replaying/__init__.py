"""Recorded runs repeated, here or on another machine."""
