"""Code of other authors that runs in the application's process: on event loops in threads of its own.

What blocks there stops neither the screen nor other engines.
"""
