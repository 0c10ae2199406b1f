"""A test that hangs, or that ends its process, fails with its name, and the other tests go on.

pytest-timeout interrupts a test at its limit: a mark, or `timeout` in pyproject.toml. It can interrupt neither native
code nor the teardown of a test that failed. `Limits` ends the process of these.
"""

import contextlib
import faulthandler
import hashlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest


class Limits:
    """A plugin that ends a process whose test is at twice its limit, after printing the stacks of all threads.

    pytest-xdist reports such a test as failed, starts another process, and would run the test in it again, and again
    if that process ends too. So a test that has ended a process fails immediately.
    """

    def __init__(self) -> None:
        self._stderr = os.dup(2)  # while tests run, pytest captures what is written to 2
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
        self._started = Path(tempfile.gettempdir(), f"pytest-started-{run}") if run else None
        """A folder with a file for each test that has not ended; all processes share it."""

    @pytest.hookimpl(wrapper=True)  # not tryfirst: tests/conftest.py first waits for tests that run alone
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._watch(item)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(trylast=True)  # after pytest's own, which ends the watch
    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        if isinstance(node, pytest.Item):
            self._watch(node)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self._started is not None:
            self._note_start(self._started, item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            return (yield)
        finally:
            if self._started is not None:
                self._file(item).unlink()

    def pytest_sessionfinish(self) -> None:
        if self._started is not None:
            with contextlib.suppress(OSError):  # other processes still run tests
                self._started.rmdir()

    def _watch(self, item: pytest.Item) -> None:
        if seconds := limit(item):
            faulthandler.dump_traceback_later(2 * seconds, exit=True, file=self._stderr)

    def _note_start(self, folder: Path, item: pytest.Item) -> None:
        while True:
            folder.mkdir(exist_ok=True)
            try:
                return self._file(item).touch(exist_ok=False)
            except FileExistsError:
                pytest.fail("This test ended the process that ran it, and is not run again.", pytrace=False)
            except FileNotFoundError:
                continue  # a process that had no more tests has just removed the empty folder

    def _file(self, item: pytest.Item) -> Path:
        assert self._started is not None
        return self._started / hashlib.sha256(item.nodeid.encode()).hexdigest()


def limit(item: pytest.Item) -> float:
    """The limit of a test in seconds, 0 for none: `--timeout`, its mark, or the setting in pyproject.toml."""
    marker = item.get_closest_marker("timeout")
    given = item.config.getoption("timeout")
    return float(marker.args[0] if marker else item.config.getini("timeout") if given is None else given)
