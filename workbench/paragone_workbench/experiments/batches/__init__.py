"""Batches: the runs of an experiment as a file of requests for another machine, and the file of the results."""
