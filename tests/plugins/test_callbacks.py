"""paragone.callbacks: converting a library's callbacks to a generator."""

import contextlib
import gc
import itertools
import logging
import threading
from typing import Any

import pytest

from paragone import Cancelled
from paragone.callbacks import stream

PATIENCE = 10
"""Timeout in seconds."""


class Switch(Cancelled):
    """A test double of the worker's `Cancelled`: the test sets `on`."""

    def __init__(self):
        self.on = False

    def __bool__(self):
        return self.on

    def subscribe(self, on_cancel):
        raise NotImplementedError


class EndlessLibrary:
    """A test double of a library that calls back until the callback returns True."""

    def __init__(self):
        self.called_back = 0
        self.ended = threading.Event()

    def generate(self, callback):
        """Return the number of calls. As in xllamacpp, `callback` returns True to stop."""
        try:
            for number in itertools.count():
                self.called_back += 1
                if callback(number):
                    return self.called_back
        finally:
            self.ended.set()

    def call(self, emit):
        return self.generate(lambda number: not emit(number))


@pytest.fixture(autouse=True)
def check_no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert not left


def emit_all(items):
    def call(emit):
        for item in items:
            assert emit(item)
        return "done"

    return call


def test_all_items_arrive_in_order():
    assert list(stream(emit_all(range(1000)), capacity=3)) == list(range(1000))
    assert list(stream(emit_all(()))) == []

    def consumer():
        result = yield from stream(emit_all("ab"))
        yield result

    assert list(consumer()) == ["a", "b", "done"]


def test_the_call_runs_in_another_thread_and_starts_with_the_first_item():
    threads = []

    def call(emit):
        threads.append(threading.current_thread())
        emit(1)

    items = stream(call)
    assert not threads
    assert list(items) == [1]
    assert threads != [threading.current_thread()]


def test_a_generator_closed_before_its_start_does_not_call_the_library():
    def call(emit):
        pytest.fail("it was called")

    stream(call).close()


def test_an_exception_is_raised_after_earlier_items():
    def call(emit):
        emit(1)
        emit(2)
        raise LookupError("no such model")

    items = stream(call)
    assert next(items) == 1
    assert next(items) == 2
    with pytest.raises(LookupError, match="no such model") as caught:
        next(items)
    assert any(entry.name == "call" for entry in caught.traceback), (
        "the traceback includes the function that raised"
    )


def test_a_library_does_not_run_ahead_of_its_consumer():
    library = EndlessLibrary()
    with contextlib.closing(stream(library.call, capacity=4)) as items:
        taken = [next(items) for _ in range(100)]
        # One more callback may have begun; it blocks until there is space for its item.
        assert library.called_back <= len(taken) + 4 + 1
    assert taken == list(range(100))


def test_closing_stops_the_call_and_waits_for_its_end():
    library = EndlessLibrary()
    items = stream(library.call)
    assert next(items) == 0
    items.close()
    assert library.ended.is_set()


@pytest.mark.thorough
def test_a_garbage_collected_generator_stops_the_call():
    library = EndlessLibrary()
    items = stream(library.call)
    next(items)
    del items
    gc.collect()
    assert library.ended.wait(PATIENCE)


def test_a_cancel_ends_the_stream_after_the_emitted_items():
    library, cancelled = EndlessLibrary(), Switch()
    taken = []
    for number in stream(library.call, cancelled=cancelled, capacity=2):
        taken.append(number)
        cancelled.on = number >= 10
    assert taken == list(range(library.called_back))
    assert 11 <= len(taken) <= 11 + 2 + 1


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_an_exception_after_the_stop_ends_the_stream(how, caplog):
    """Libraries that ignore the callback's return value are stopped by an exception."""
    cancelled = Switch()

    def call(emit):
        for number in itertools.count():
            if not emit(number):
                raise RuntimeError("aborted by the callback")

    items = stream(call, cancelled=cancelled)
    next(items)
    with caplog.at_level(logging.WARNING, "paragone.callbacks"):
        if how == "closed":
            items.close()
        else:
            cancelled.on = True
            list(items)
    assert "aborted by the callback" in caplog.text


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_closing_waits_for_a_library_that_ignores_the_stop(how):
    cancelled = Switch()
    results = []

    def call(emit):
        results.extend([emit(number) for number in range(500)])

    items = stream(call, cancelled=cancelled, capacity=2)
    next(items)
    if how == "closed":
        items.close()
    else:
        cancelled.on = True
        assert list(items) == list(range(1, 500)), "items emitted after the stop are not lost"
    assert len(results) == 500
    assert not any(results[10:])


def test_items_emitted_after_the_end_are_dropped():
    kept: list[Any] = []
    assert list(stream(kept.append)) == []
    assert kept[0]("late") is False
