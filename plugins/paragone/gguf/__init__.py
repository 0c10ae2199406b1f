"""GGUF files: their headers, and finding them in folders. For every backend whose engine loads them."""
