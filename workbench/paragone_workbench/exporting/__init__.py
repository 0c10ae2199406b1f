"""Conversations into files: documents, texts to read, and suites."""
