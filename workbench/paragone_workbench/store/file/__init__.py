"""The SQLite file: its schema, its older versions, and the instances of the program that have it open."""
