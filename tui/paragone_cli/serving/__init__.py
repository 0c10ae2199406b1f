"""Commands that serve engines to other programs."""
