"""Base classes and widgets that several screens use."""
