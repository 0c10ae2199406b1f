"""Runs suites: the runs of an experiment, and the results."""
