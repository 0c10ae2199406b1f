"""The view: a Textual screen of lanes, and the command line."""
