"""The headless application: config, engines, runs, lanes, scheduling and the store. No Textual, no rich."""
