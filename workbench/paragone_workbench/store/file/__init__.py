"""The SQLite file: its schema, and the instances of the program that have it open."""
