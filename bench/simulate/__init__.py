"""Simulations of the statistics: how often intervals hold, and how often nothing is claimed as something."""
