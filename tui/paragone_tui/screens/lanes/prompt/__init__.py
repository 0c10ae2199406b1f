"""The field for prompts, with its text, the pasted texts and the attached files."""
