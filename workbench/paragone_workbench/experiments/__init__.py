"""Experiments: sets of runs that are meant to be compared."""
