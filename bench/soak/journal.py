"""The record of actions and broken promises: one file for all processes and threads of a soak."""

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path


class Journal:
    """Counts the actions of one process, and lists broken promises. The file has each of them as a line of JSON."""

    def __init__(self, folder: Path, began: float) -> None:
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._began = began
        self._path = folder / "journal.jsonl"
        self._lock = threading.Lock()

    def did(self, what: str, where: str = "") -> None:
        """Count an action, such as `killed a worker`."""
        with self._lock:
            self.done[what] += 1
            self._write(did=what, where=where)

    def found(self, wrong: str, screen: str = "") -> None:
        """Record a promise that was not kept, with the screen at that moment."""
        with self._lock:
            self.wrong.append(wrong)
            self._write(wrong=wrong, screen=screen)
            print(f"soak: WRONG after {self._minutes():.1f} min: {wrong}", file=sys.stderr, flush=True)

    def note(self, **what: object) -> None:
        """Write values into the file, and count nothing."""
        with self._lock:
            self._write(**what)

    def _write(self, **what: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"minutes": round(self._minutes(), 3), **what}) + "\n")

    def _minutes(self) -> float:
        return (time.monotonic() - self._began) / 60
