"""The memory and the GPUs of this machine."""
