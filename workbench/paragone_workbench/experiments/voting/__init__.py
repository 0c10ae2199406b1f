"""Blind votes: ballots without names, and answers that do not reveal the speeds of engines."""
