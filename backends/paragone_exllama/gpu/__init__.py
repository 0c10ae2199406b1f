"""The GPUs: their driver, and the VRAM that a model needs."""
