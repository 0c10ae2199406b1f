"""llama.cpp, for GGUF models, in this program's own worker processes."""
