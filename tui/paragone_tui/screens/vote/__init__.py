"""Votes on answers whose engines are not named."""
