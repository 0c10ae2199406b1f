"""Measurements of one engine, or of engines against a reference: fidelity, speed."""
