"""ExLlamaV2 and ExLlamaV3: EXL2, EXL3, GPTQ and unquantized models on NVIDIA GPUs."""
