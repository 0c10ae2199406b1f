"""Engines compared over the runs of experiments."""
