"""The plan of a soak, and the state that its processes and threads share: the end, and the lock of the store."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event, Lock
from pathlib import Path

from bench.programs import smollm2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a soak. The seed determines the order of actions; their times depend on the machine."""

    minutes: float
    seed: int
    folder: Path
    """A new or empty folder for the home folder of the programs, the journal and the records."""
    lanes: tuple[int, ...] = (2, 6)
    """Numbers of lanes. One program runs for each of these numbers."""
    with_model: bool = True
    """Whether one of the lanes, and one of the suite's engines, computes with a real model."""
    life_minutes: float = 60.0
    """Minutes that a program runs before it is quit or killed, and the next program starts."""
    pause_s: float = 6.0
    """Mean seconds between two actions of a person."""
    fault_pause_s: float = 14.0
    """Mean seconds between two faults."""
    suite_pause_s: float = 120.0
    """Mean seconds between two suites."""
    rate: float = 6.0
    """Tokens a second that the server and the worker send in each answer."""
    tokens: int = 40
    """Number of tokens in an answer of the server or of the worker."""

    @property
    def home(self) -> Path:
        """The home folder of all programs, which share a history."""
        return self.folder / "home"

    @property
    def history(self) -> Path:
        """The file of the history."""
        # tests/conftest.py and bench.programs set the XDG folders to subfolders of the home folder.
        return self.home / "data" / "paragone" / "history.db"

    @property
    def local(self) -> str:
        """The name of the engine that the suites, and the program with the fewest lanes, use beside the server."""
        return "model" if self.with_model else "worker"

    def engines(self, lanes: int) -> list[str]:
        """Return the names of the engines for this number of lanes."""
        names = ["server", self.local, "server2", "worker2", "server3", "worker3"]
        return names[:lanes]

    def write_config(self, url: str) -> None:
        """Write the config.toml of all programs."""
        path = self.home / "config" / "paragone" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(self._config(url)))

    def _config(self, url: str) -> Iterator[str]:
        for name in ("server", "server2", "server3"):
            yield f'[engines.{name}]\nbackend = "openai"\nmodel = "numbered"\nurl = "{url}"'
            yield f"max_tokens = {self.tokens}\nidle_timeout = 20\nload_timeout = 20\n"
        for name in ("worker", "worker2", "worker3"):
            yield f'[engines.{name}]\nbackend = "paced"\nmodel = "one"'
            yield f"max_tokens = {self.tokens}\nrate = {self.rate}\n"
        if self.with_model:
            yield f'[engines.model]\nbackend = "llama_cpp"\nmodel = "{smollm2()}"'
            yield "n_threads = 1\nn_ctx = 2048\nmax_tokens = 12\n"


@dataclass(frozen=True, slots=True)
class Shared:
    plan: Plan
    began: float
    """The start of the soak on the monotonic clock, which is the same for all processes."""
    interrupted: Event
    """Set to end the soak early."""
    store_is_free: Lock
    """Held during the fault that locks the store, until programs have saved their changes, and while a program is ended."""

    @property
    def until(self) -> float:
        return self.began + self.plan.minutes * 60

    @property
    def is_running(self) -> bool:
        return time.monotonic() < self.until and not self.interrupted.is_set()
