"""Ollama servers. Protocol: https://docs.ollama.com/api."""
