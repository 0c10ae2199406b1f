"""Commands that open a screen."""
