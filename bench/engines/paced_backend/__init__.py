"""A backend for measurements: its engine sends an English text at a given rate in tokens/s."""
