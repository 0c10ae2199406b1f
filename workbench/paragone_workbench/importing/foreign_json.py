"""Read the times, roles, images and trees of messages in the exports of other programs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping

from paragone import Image, Json, Role
from paragone.json_fields import number_at, text_at

_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,")


def seconds(data: Json, *path: str) -> float | None:
    """Return the time at a path in seconds since 1970; None without a number. Large numbers are taken for milliseconds."""
    found = number_at(data, *path)
    return found / 1000 if found is not None and found > 1e11 else found


def role_of(name: str) -> Role:
    """Return the role with this name; `system` for any other name, such as `developer`."""
    return "user" if name == "user" else "assistant" if name == "assistant" else "system"


def image(url: str, name: str = "") -> Image | None:
    """Return the image in a `data:` URL; None for any other URL."""
    match = _DATA_URL.match(url)
    if match is None:
        return None
    data = url[match.end() :]
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        return None
    return Image(data=data, media_type=match[1], name=name or "image")


def images(parts: Iterable[Json], *path: str) -> Iterator[Image]:
    """Yield the images in the `data:` URLs that parts of a message have at a path, with the `name` of the part, if any."""
    for part in parts:
        if (found := image(text_at(part, *path), text_at(part, "name"))) is not None:
            yield found


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
