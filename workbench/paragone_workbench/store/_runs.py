"""How a run ends: its pieces become one text, whoever ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone import FinishReason
from paragone_workbench.store.records import EndState

if TYPE_CHECKING:
    from paragone_workbench.store._database import Database

__all__ = ["bury", "clean", "finish_run", "interrupt", "said"]


def bury(database: Database, alive: set[str]) -> None:
    """Mark the runs of dead copies of the program as interrupted, and forget those copies."""
    for owner_id, lock in database.rows("SELECT id, lock FROM owner"):
        if lock not in alive:
            interrupt(database, owner_id)


def interrupt(database: Database, owner_id: int) -> None:
    """Mark the running runs of one copy as interrupted, and forget that copy."""
    for (run_id,) in database.rows("SELECT id FROM run WHERE owner_id = ?", owner_id):
        finish_run(database, run_id, "interrupted")
    database.run("DELETE FROM owner WHERE id = ?", owner_id)


def finish_run(
    database: Database,
    run_id: int,
    state: EndState,
    *,
    ended: float | None = None,
    finish: FinishReason | None = None,
    error: str = "",
    metrics: str | None = None,
) -> None:
    """End a run, unless it has ended. `metrics` is JSON."""
    text, thinking = said(database, run_id)
    database.run(
        "UPDATE run SET state = ?, text = ?, thinking = ?, finish = ?, error = ?, metrics = ?, ended = ?,"
        " owner_id = NULL WHERE id = ? AND state = 'running'",
        state,
        text,
        thinking,
        finish,
        error,
        metrics,
        ended,
        run_id,
    )
    database.run("DELETE FROM piece WHERE run_id = ?", run_id)


def said(database: Database, run_id: int) -> tuple[str, str]:
    """Return what a running run has said so far: its answer and its thoughts."""
    pieces = database.rows("SELECT text, thinking FROM piece WHERE run_id = ? ORDER BY id", run_id)
    return "".join(text for text, _ in pieces), "".join(thinking for _, thinking in pieces)


def clean(text: str) -> str:
    """Return the text without halves of surrogate pairs: JSON can hold such, UTF-8 cannot."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
