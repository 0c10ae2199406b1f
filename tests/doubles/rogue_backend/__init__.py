"""A test double: a backend whose engine answers with numbered words and fails on cue.

It stands in for a native library that crashes, hangs, prints or lies at a moment of the test's
choosing, which a real one does not do when asked. Everything around the engine (the worker, its
pipe, its process) is the real thing. The model's name chooses what happens.
"""
