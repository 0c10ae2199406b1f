"""Commands that list engines, models and their options, or download a model."""
