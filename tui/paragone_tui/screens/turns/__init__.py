"""Pickers for turns: the queue, the tree of all turns, and what to copy."""
