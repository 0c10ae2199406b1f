"""Comparisons of engines over the runs of experiments."""
