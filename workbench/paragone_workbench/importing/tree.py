"""Order the messages of a tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paragone import Json
from paragone.json_fields import text_at


def in_order(nodes: Mapping[str, Json], parent_name: str) -> Iterator[tuple[str, str | None, Json]]:
    """Yield the nodes of a tree, each after its parent, as the node's id, the id of its parent, and the node.

    `nodes` has the nodes by their ids. Each node has the id of its parent under `parent_name`. A node whose parent is missing
    is a root. Nodes in a cycle are left out.
    """
    parents = {node_id: text_at(node, parent_name) or None for node_id, node in nodes.items()}
    children: dict[str | None, list[str]] = {}
    for node_id, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(node_id)
    waiting = children.get(None, [])[::-1]
    while waiting:
        node_id = waiting.pop()
        yield node_id, parents[node_id], nodes[node_id]
        waiting += children.get(node_id, [])[::-1]
