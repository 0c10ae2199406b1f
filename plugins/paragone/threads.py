"""Blocking calls in threads that do not keep the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["in_daemon_thread"]

T = TypeVar("T")


def in_daemon_thread(call: Callable[[], T]) -> Future[T]:
    """Start a blocking call in a daemon thread of its own; return its future.

    Use this function for calls that may never return: at exit, Python does not wait for daemon threads, unlike those of
    `asyncio.to_thread`.
    """
    future: Future[T] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (whoever waits for the result gets it)
            future.set_exception(error)

    threading.Thread(target=run, name="blocking call", daemon=True).start()
    return future
