"""Ratings of engines from votes."""
