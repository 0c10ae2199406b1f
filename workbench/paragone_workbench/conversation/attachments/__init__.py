"""Files that the user attaches to a prompt: found by `@path`, read, and added to the prompt's text."""
