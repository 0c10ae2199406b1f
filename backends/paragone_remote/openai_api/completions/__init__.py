"""Completions, of chats and of texts: the bodies of requests, and the streams of answers."""
