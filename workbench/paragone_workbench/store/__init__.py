"""The store: conversations and what every lane answered, in one SQLite file.

Importing this does not import sqlite3; opening a store does.
"""
