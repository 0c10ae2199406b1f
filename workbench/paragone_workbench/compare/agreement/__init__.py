"""Agreement: whether an engine gives the same greedy answers as a reference, and whether an engine has collapsed."""
