"""A warning about a config file with secrets that other users can read."""

import os

import pytest
from rogue_backend.definitions import rogue

SETTINGS = "[engines.far]\nbackend = 'ollama'\nmodel = 'm'\nkey_command = 'echo sk-secret'\n"


@pytest.mark.parametrize(("umask", "times"), [(0o022, 1), (0o077, 0)])
async def test_it_is_warned_of_once(start, umask, times):
    before = os.umask(umask)  # the file is made when the screen starts
    try:
        async with start(rogue("steady"), settings=SETTINGS) as screen:
            await screen.ask("hello")
            await screen.answered()
            assert screen.told.count("sets key_command, and its mode 644 gives other users access") == times
            assert screen.told.count("chmod 600") == times
    finally:
        os.umask(before)
