"""Running suites: the runs of an experiment, and the results."""
