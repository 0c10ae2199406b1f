"""The order of the messages of a tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def in_order(parents: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the ids of a tree, each after its parent. `parents` has the parent of each id.

    An id whose parent is not there is a root; ids in a circle are left out.
    """
    children: dict[str | None, list[str]] = {}
    for node, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(node)
    waiting = children.get(None, [])[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += children.get(node, [])[::-1]
