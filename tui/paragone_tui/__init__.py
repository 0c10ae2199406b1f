"""The view: a Textual screen of lanes."""
