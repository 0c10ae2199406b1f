"""Agreement: how greedy answers of an engine agree with those of a reference, and whether they collapse."""
