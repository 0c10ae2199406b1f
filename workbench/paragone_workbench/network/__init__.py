"""The network of a process of this program: how its guard begins, and the log of what processes contacted."""
