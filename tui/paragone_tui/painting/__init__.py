"""Painting that writes only what changed, and nothing while nothing happens."""
