"""Ollama, through its official client. Protocol: https://docs.ollama.com/api."""
