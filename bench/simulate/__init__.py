"""Simulations of the statistics: how often intervals contain the true value, and how often claims are false."""
