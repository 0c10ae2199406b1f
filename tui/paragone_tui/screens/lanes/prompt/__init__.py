"""The field for prompts: its text, what was pasted, and the files that go with it."""
