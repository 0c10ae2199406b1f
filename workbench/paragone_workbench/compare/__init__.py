"""Comparison of the answers of several engines."""
