"""Shows the user which plugin the program waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from paragone.discovery import Watch

NOTICE_S = 2.0
"""Seconds after which the user sees which plugin the program waits for."""
DEADLINE_S = 20.0
"""Seconds that a plugin has to answer."""

Tell: TypeAlias = Callable[[str], None]
"""Shows a sentence. The function may be called in any thread."""


def tell_nobody(sentence: str) -> None:
    """Show nothing."""


def import_watch(tell: Tell) -> Watch:
    """Return a watch over the imports of plugins, which leaves marks on disk and shows an import that takes long."""
    from paragone.discovery import LOADING_S, Watch
    from paragone_workbench.engines.import_marks import marked_import

    def waiting(plugin: str) -> None:
        tell(f"Waiting for the plugin {plugin} to be imported, at most {LOADING_S:g} seconds …")

    return Watch(importing=marked_import, waiting=waiting)
