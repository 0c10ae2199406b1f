"""What every command needs: arguments in, text or JSON out, settings, progress, the history, Ctrl+C."""

INTERRUPTED = 128 + 2
"""The exit code of shells for a program that SIGINT ended."""
