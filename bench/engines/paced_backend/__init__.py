"""A backend for measuring: its engine sends an English text at a given number of tokens a second."""
