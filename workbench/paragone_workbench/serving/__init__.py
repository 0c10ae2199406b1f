"""An OpenAI-compatible server over engines."""
