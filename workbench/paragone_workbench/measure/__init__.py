"""Measurements of engines: speed, memory, and fidelity to a reference."""
