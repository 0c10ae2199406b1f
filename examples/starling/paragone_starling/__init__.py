"""A backend for starling, an imaginary library with callbacks."""
