"""The OpenAI-compatible servers that load models on demand: llama-server's router, llama-swap and LM Studio."""
