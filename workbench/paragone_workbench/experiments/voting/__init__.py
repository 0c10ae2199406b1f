"""Blind votes: ballots without names, and answers that tell no speed."""
