"""Executes the runs of a suite in this process, with several requests at a time, and reopens engines after a crash."""
