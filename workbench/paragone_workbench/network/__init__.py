"""The network access of this program's processes: the start of the guard, and the log of contacted addresses."""
