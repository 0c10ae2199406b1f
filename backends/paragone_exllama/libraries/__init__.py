"""ExLlamaV2 and ExLlamaV3, behind their common interface."""
