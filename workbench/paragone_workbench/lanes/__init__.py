"""Lanes side by side, and the conversation that they share."""
