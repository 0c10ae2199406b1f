"""Fidelity: how much the distributions of engines differ from the distributions of a reference."""
