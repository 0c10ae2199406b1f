"""Backends for models on servers: Ollama and OpenAI-compatible servers."""
