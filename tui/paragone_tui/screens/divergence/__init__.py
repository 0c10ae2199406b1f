"""The view of the place where answers part."""
