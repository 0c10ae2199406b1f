"""The lanes side by side, and the composer under them."""
