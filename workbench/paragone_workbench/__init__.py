"""Headless workbench: config, lanes, scheduling, metrics and the store. No Textual, no rich."""
