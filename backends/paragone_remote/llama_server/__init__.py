"""llama-server as an engine's own process: this backend starts it, asks it over HTTP, and ends it."""
