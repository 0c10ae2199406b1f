"""Choosing an engine: the measurements that decide, and what follows from them."""
