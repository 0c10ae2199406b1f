"""The terminal user interface: lanes side by side, built with Textual."""
