"""Votes on answers that are shown without the names of their engines."""
