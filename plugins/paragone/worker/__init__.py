"""The worker: a process of its own for every native engine."""
