"""The SQLite file: its schema, its older versions, its errors, and the programs that have it open."""
