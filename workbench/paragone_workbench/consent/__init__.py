"""Consent to what a document names that may come from somebody else: addresses, files, commands and interpreters."""
