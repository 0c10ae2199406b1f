"""Export conversations into files: documents, texts to read, and suites."""
