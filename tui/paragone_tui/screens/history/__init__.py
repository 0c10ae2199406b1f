"""The screen of earlier conversations."""
