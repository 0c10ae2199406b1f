"""The files in a model's folder: its weights, its format, its tokenizer."""
