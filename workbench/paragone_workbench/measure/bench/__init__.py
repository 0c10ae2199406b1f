"""Bench: how fast engines are."""
