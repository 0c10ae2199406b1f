"""This machine: its processor, memory and GPUs."""
