"""The code that runs in an engine's own process."""
