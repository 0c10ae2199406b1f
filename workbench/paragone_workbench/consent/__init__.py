"""The user's consent to addresses, files, commands and interpreters that a document of somebody else names."""
