"""Read headers of GGUF files, and find GGUF files in folders. For every backend whose engine loads such files."""
