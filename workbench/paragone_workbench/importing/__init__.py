"""Conversations from files: paragone's own documents, and the exports of other programs."""
