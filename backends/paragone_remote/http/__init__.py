"""Requests over HTTP: the client, timeouts, replies, and what failures mean."""
