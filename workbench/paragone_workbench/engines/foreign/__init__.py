"""Code of other authors that runs in the application's process: on event loops in threads of its own.

If such code blocks, the screen and other engines go on.
"""
