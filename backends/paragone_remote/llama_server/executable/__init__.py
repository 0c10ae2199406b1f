"""The llama-server to start: where it is, and the arguments and devices that it knows."""
