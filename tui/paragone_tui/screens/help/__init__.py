"""The keys in force."""
