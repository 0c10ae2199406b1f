"""Fixtures for the chat models of LangChain."""

import time

import pytest


@pytest.fixture
def until_sync():
    """Wait until a condition holds that a thread brings about."""

    def wait(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait
