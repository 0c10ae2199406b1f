"""The answer of a run: its tokens and thinking, the settings in force, truncated prompts."""
