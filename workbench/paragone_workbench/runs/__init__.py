"""Runs: one request to one engine, and everything that came of it."""
