"""Chooses an engine to deploy: the measurements, and the decision by the results."""
