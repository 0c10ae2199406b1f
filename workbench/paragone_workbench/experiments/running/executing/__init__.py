"""Executing the runs of a suite: in this process, with several requests at a time, and an engine that is opened again."""
