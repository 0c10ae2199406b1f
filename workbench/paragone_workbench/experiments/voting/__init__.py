"""Blind votes: ballots without names."""
