"""Full collections wait until the user rests and no answer comes."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

from paragone_tui.garbage import AT_REST_S, CollectorAtRest

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="this Python collects old objects in small steps"
)


class Node:
    """An object that refers to itself: only a collection frees it."""

    def __init__(self) -> None:
        self.node = self


@pytest.fixture
def old_garbage():
    """A weak reference to garbage that only a full collection frees, which is due."""
    was_enabled = gc.isenabled()
    gc.disable()
    node = Node()
    reference = weakref.ref(node)
    gc.collect(0)
    for _ in range(12):
        gc.collect(1)
    del node
    gc.collect(1)
    yield reference
    if was_enabled:
        gc.enable()


def test_a_key_postpones_a_full_collection(old_garbage):
    now = 100.0
    collector = CollectorAtRest(lambda: now)
    now += AT_REST_S
    collector.key_came()
    now += AT_REST_S / 2
    collector.collect()
    assert old_garbage() is not None
    now += AT_REST_S
    collector.collect()
    assert old_garbage() is None


def test_answers_that_come_postpone_a_full_collection(old_garbage):
    now = 100.0
    collector = CollectorAtRest(lambda: now)
    now += AT_REST_S
    collector.is_busy = lambda: True
    collector.collect()
    assert old_garbage() is not None
    collector.is_busy = lambda: False
    collector.collect()
    assert old_garbage() is None


def test_nothing_is_collected_that_is_not_due(old_garbage, monkeypatch):
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 1))
    now = 100.0
    collector = CollectorAtRest(lambda: now)
    now += 2 * AT_REST_S
    collector.collect()
    assert old_garbage() is not None
