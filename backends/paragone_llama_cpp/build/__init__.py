"""The build of llama.cpp: the loaded library, the required packages, the instruction sets in use."""
