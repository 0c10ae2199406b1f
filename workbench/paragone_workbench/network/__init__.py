"""The network access of this program's processes."""
