"""The command line: everything the screen can do to engines, without it. No Textual, no rich."""
