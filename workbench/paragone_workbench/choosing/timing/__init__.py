"""The time of a choice: durations in words, what fits into a time, and the end of it."""
