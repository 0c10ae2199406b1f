"""llama-server as an engine's own process, which this backend starts, contacts over HTTP, and ends."""
