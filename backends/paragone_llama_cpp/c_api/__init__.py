"""The part of llama.cpp's C interface that paragone uses, for two builds of the library: see `loading`."""
