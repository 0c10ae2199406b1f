"""Read headers of GGUF files, and find GGUF files in folders.

Every backend whose engine loads GGUF files can use this package.
"""
