"""A running llama-server: its process, where it listens, its log, the engines that share it."""
