"""OpenAI-compatible servers, through the official client.

Protocol: https://platform.openai.com/docs/api-reference.
"""
