"""Chooses an engine to deploy: the measurements, and the decision that follows from their results."""
