"""The rows of the engine picker, each on one line."""

from __future__ import annotations

from textual.content import Content

from paragone_tui.terminal.text import one_line, visible
from paragone_workbench.inventory.catalog import CatalogEntry, Group

__all__ = ["entry_row", "heading_row", "written_row"]

_SHORTEST_REASON = 8
"""Cells that a reason keeps at least, where the remedy beside it is long."""


def heading_row(group: Group) -> Content:
    """Return the heading of a group."""
    return Content.assemble((group.value, "$primary"))


def written_row(text: str) -> Content:
    """Return the row that opens what the user wrote."""
    return Content.assemble(("Open ", "bold"), visible(text))


def entry_row(entry: CatalogEntry, width: int) -> Content:
    """Return the row of an entry, `width` cells wide: what can be used in bold, the rest dim with the reason."""
    name = one_line(entry.name)
    if entry.group is not Group.UNUSABLE:
        return Content.assemble((f"  {name}", "bold"), (f"  {one_line(entry.detail)}", "dim"))
    room = width - len(name) - 4
    return Content.assemble(
        (f"  {name}  {_reason(one_line(entry.problem), one_line(entry.remedy), room)}", "dim")
    )


def _reason(reason: str, remedy: str, room: int) -> str:
    """Return reason and remedy. If they do not fit into `room` cells, the reason is cut, so that the remedy is seen."""
    if not remedy or len(reason) + 1 + len(remedy) <= room:
        return f"{reason} {remedy}".rstrip()
    kept = max(_SHORTEST_REASON, room - len(remedy) - 2)
    return f"{reason[:kept].rstrip()}… {remedy}" if kept < len(reason) else f"{reason} {remedy}"
