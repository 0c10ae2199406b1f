"""The time of a choice: durations in words, a plan of what can be measured, and the time limit."""
