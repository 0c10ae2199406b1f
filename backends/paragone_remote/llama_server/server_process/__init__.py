"""A running llama-server: its process, its address, its log, the engines that share it."""
