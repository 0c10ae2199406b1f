"""Repeats recorded runs, here or on another machine."""
