"""Engines to put into a lane."""
