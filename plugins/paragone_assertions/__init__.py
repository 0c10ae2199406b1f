"""The built-in assertions, as an ordinary plugin."""
