"""What runs in an engine's own process."""
