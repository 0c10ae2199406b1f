"""Fit: how much memory an engine takes, and whether the engine fits on the devices."""
