"""A test double: a backend whose engine answers with numbered words and fails on cue.

It simulates a native library that crashes, hangs, prints or breaks the contract at a time chosen by the test.
Everything around the engine is real: the worker, its pipe, its process. The model's name selects the failure.
"""
