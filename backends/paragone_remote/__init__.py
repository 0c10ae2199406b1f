"""Engines elsewhere: Ollama and OpenAI-compatible servers, as lanes like any other."""
