"""The llama-server to start: its path, its arguments and its devices."""
