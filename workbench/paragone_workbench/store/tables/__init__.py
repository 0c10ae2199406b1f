"""Reads and writes the tables of the file."""
