"""Ollama's protocol: requests, and the fields of replies."""
