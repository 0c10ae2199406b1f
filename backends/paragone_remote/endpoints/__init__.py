"""Endpoints: their addresses, credentials and options."""
