"""Shows the addresses that this program contacted since its start, and the guard that refuses other addresses."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from paragone.network.guard import GUARD
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.sheet import Sheet


class ContactsSheet(Sheet):
    """Lists the addresses that this program contacted."""

    heading = "Addresses contacted"

    def parts(self) -> Iterator[RenderableType]:
        """Yield a sentence on what restricts the network, and the list of addresses."""
        yield f"{_holding()}\n"
        if not GUARD.contacts:
            yield "No address was contacted since the start."
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        for contact in GUARD.contacts:
            table.add_row(
                time.strftime("%H:%M:%S", time.localtime(contact.first)),
                one_line(contact.address),
                one_line(contact.engine),
                f"refused: {contact.refused}" if contact.refused else "",
            )
        yield table


def _holding() -> str:
    if GUARD.layer:
        return f"Offline until the program ends: {GUARD.layer} refuses every connection."
    if GUARD.is_offline:
        return (
            "Offline: an audit hook refuses every connection. That is a guard in Python; "
            "start with --offline to have the system refuse them."
        )
    return (
        "Online: an audit hook, a guard in Python, refuses addresses that no engine names. `paragone doctor` tries "
        "whether it holds, and whether the processes of local engines are kept from the network."
    )
