"""Pickers for turns: the queue, the tree of all turns, and the text to copy."""
