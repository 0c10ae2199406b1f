"""The build of llama.cpp: the loaded library, the packages that it needs, the instructions that it uses."""
