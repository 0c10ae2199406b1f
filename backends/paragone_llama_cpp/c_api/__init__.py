"""llama.cpp's C interface, as far as paragone uses it, for two builds of the library: see `loading`."""
