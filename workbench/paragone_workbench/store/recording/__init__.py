"""Saves growing conversations."""
