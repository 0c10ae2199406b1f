"""Conversations, suites and reports in files: import and export."""
