"""Commands for what can be opened: engines, models and their options."""
