"""Fit: how much memory an engine takes, and whether it fits."""
