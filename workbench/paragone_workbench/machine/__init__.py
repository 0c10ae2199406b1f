"""This machine: its processor, memory, GPUs, and counters of energy."""
