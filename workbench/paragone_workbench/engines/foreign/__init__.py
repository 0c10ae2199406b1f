"""Runs code of other authors in the application's process, on event loops in separate threads.

If such code blocks, the screen and other engines still respond.
"""
