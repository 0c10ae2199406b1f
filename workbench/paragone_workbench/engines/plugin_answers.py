"""Calls of the synchronous methods of plugins: each runs in a thread of its own, with a deadline."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from paragone import EngineError
from paragone.threads import in_daemon_thread
from paragone_workbench.engines.failures import CALL_ERRORS, as_paragone_error
from paragone_workbench.text import Tell, tell_nobody

if TYPE_CHECKING:  # not needed at start
    from paragone import Backend

NOTICE_S = 2.0
"""Seconds after which the user sees which plugin the program waits for."""
DEADLINE_S = 20.0
"""Seconds that a plugin has to answer."""

_T = TypeVar("_T")

_late: dict[tuple[str, str], Future[Any]] = {}
"""Calls that did not return in time and still run in their threads, by the plugin and the call's `what`."""


def answer(call: Callable[[], _T], plugin: str, what: str, *, tell: Tell = tell_nobody) -> _T:
    """Call a method of a plugin, and return its result. Blocks: on the application's event loop, await `answer_apart`.

    After `NOTICE_S` seconds, `tell` shows which answer the program waits for. A call that did not return in time is not
    repeated while it still runs. Raises the method's exception, RuntimeError for a plugin's KeyboardInterrupt, and
    EngineError without an answer within `DEADLINE_S` seconds.

    Args:
        call: Calls the method.
        plugin: The plugin in words, such as `the backend ollama`.
        what: The answer in words, such as `the addresses that it contacts`.
        tell: Shows which plugin the program waits for.
    """
    late = f"{plugin[0].upper()}{plugin[1:]} did not report {what} within {DEADLINE_S:g} seconds."
    unfinished = _late.get((plugin, what))
    if unfinished is not None and not unfinished.done():
        raise EngineError(late, hint="The plugin is not asked again while it computes.")
    given = in_daemon_thread(call)
    if not _is_given(given, NOTICE_S):
        tell(f"Waiting for {plugin} to report {what}, at most {DEADLINE_S:g} seconds …")
        if not _is_given(given, DEADLINE_S - NOTICE_S):
            _late[plugin, what] = given
            raise EngineError(
                late, hint="Report this to the author of the plugin; the rest of the program is not affected."
            )
    if isinstance(given.exception(), KeyboardInterrupt):
        raise RuntimeError("KeyboardInterrupt") from given.exception()
    return given.result()


def backend_answer(backend: Backend, call: Callable[[], _T], what: str, *, tell: Tell = tell_nobody) -> _T:
    """Do the same as `answer` for a method of a backend. Raises ParagoneError that names the backend for each error."""
    try:
        return answer(call, f"the backend {backend.name}", what, tell=tell)
    except CALL_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error


async def answer_apart(ask: Callable[[], _T]) -> _T:
    """Run a blocking call, which may ask plugins, in a daemon thread, and return its result.

    Raises the exception of the call. Cancelling abandons the call. When the program ends, it does not wait for the call.
    """
    return await asyncio.wrap_future(in_daemon_thread(ask))


def _is_given(given: Future[_T], seconds: float) -> bool:
    return bool(concurrent.futures.wait([given], seconds).done)
