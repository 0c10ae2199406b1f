"""Fidelity: how far distributions of engines are from those of a reference."""
