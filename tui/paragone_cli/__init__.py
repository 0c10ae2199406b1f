"""The command line: does everything with engines that the screen does. No Textual, no rich."""
