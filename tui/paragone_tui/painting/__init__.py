"""Painting with little output: only changed cells are written, and nothing while idle."""
