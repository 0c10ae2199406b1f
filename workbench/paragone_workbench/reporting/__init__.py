"""Reports: an experiment or a conversation as one file, for reading or for other programs."""
