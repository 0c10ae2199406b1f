"""The settings form of a lane."""
