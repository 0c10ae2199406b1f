"""Runs: a run is one request to one engine, with its result."""
