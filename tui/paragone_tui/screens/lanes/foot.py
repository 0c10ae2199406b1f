"""The line of key hints at the foot of the screen."""

from __future__ import annotations

from collections.abc import Callable, Collection

from textual.content import Content

from paragone_tui.widgets.hints import hints
from paragone_workbench.config.settings import Mode

_ORDERS: dict[Mode, str] = {"sequential": "in turn ", "swap": "one in memory ", "auto": "auto "}

_WRITING = (
    ("send", "send"),
    ("newline", "new line"),
    ("lane-mode", "lane mode"),
    ("palette", "commands"),
    ("help", "help"),
    ("stop", "stop"),
    ("next-lane", "next lane"),
    ("add-lane", "add lane"),
    ("swap-engine", "engine"),
    ("reopen", "history"),
)
"""Commands with their labels, the most important commands first. In lane mode, two commands can share a label."""
_IN_LANE = (
    ("write", "write"),
    ("help", "help"),
    ("scroll-down scroll-up", "scroll"),
    ("previous-lane next-lane", "lane"),
    ("stop-lane", "stop"),
    ("regenerate", "regenerate"),
    ("copy-answer", "copy"),
    ("zoom", "zoom"),
    ("swap-engine", "engine"),
    ("add-lane", "add"),
    ("half-page-down half-page-up", "half page"),
    ("to-start to-end", "start, end"),
    ("previous-variant next-variant", "variant"),
    ("reopen", "history"),
    ("palette", "commands"),
    ("close-lane", "close"),
)


def foot_line(
    order: Mode,
    in_lane_mode: bool,
    key_of: Callable[[str], str],
    *,
    is_linked: bool,
    is_blind: bool,
    is_offline: bool,
    without: Collection[str],
    width: int,
) -> Content:
    """Return the schedule and as many key hints as fit into `width` cells. In lane mode, the line begins with `LANE`.

    Before the schedule come the words `offline`, `blind` (if a blind vote is next) and `unlinked` (if lanes scroll alone).
    `key_of` returns the key of a command in the present mode. Hints for the commands in `without` are left out.
    """
    mode = Content.styled(" LANE ", "reverse bold") if in_lane_mode else Content()
    states = Content(
        ("offline " if is_offline else "")
        + ("blind " if is_blind else "")
        + ("" if is_linked else "unlinked ")
        + _ORDERS.get(order, "")
    )
    pairs = (
        (" ".join(map(key_of, commands.split())), label)
        for commands, label in (_IN_LANE if in_lane_mode else _WRITING)
        if commands not in without
    )
    room = width - mode.cell_length - 2 - (states.cell_length + 2 if states else 0)
    return Content("  ").join(part for part in (mode, states, hints(pairs, room)) if part)
