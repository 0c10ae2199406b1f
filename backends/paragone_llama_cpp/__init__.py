"""llama.cpp, for GGUF models, through llama-cpp-python."""
