"""OpenAI-compatible servers. Protocol: https://platform.openai.com/docs/api-reference."""
