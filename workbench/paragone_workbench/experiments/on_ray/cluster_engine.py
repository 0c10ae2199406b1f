"""The state of an engine that is open at several places of a cluster."""

from __future__ import annotations

from paragone import ParagoneError
from paragone.wording import counted
from paragone_workbench.experiments.on_ray.cell_actor import Shard
from paragone_workbench.experiments.on_ray.places import Place

LOSSES = 3
"""Number of processes lost in a row, without an ended run in between, after which the engine is given up."""


class ClusterEngine:
    """An engine that is open at several places."""

    def __init__(self, name: str, places: int) -> None:
        self.given_up: ParagoneError | None = None
        """Why the engine was given up; None as long as the engine executes runs."""
        self.shards: dict[int, Shard] = {}
        """The last report of each process, by the number of the place."""
        self.losses = 0
        """Number of processes that were lost since the last run ended."""
        self._name = name
        self._places = set(range(places))
        """The places that are in use."""
        self._failed: dict[int, ParagoneError] = {}
        """The errors of the places that are no longer in use, by the number of the place."""

    @property
    def doing(self) -> str:
        """The number of places where the engine is open, as text; what a process does, if the engine is open nowhere yet."""
        is_open = sum(not shard.doing for shard in self.shards.values())
        if is_open:
            return counted(is_open, "place")
        return next((shard.doing for shard in self.shards.values()), "starting" if self._places else "")

    def tokens_per_second(self, now: float) -> float | None:
        """Return the rate at which the engine generates tokens at all places; None if no place generates tokens."""
        rates = [shard.rate for shard in self.shards.values() if shard.rate is not None]
        return sum(rates) if rates else None

    def give_up(self, error: ParagoneError) -> None:
        """Give the engine up because of `error`: the engine executes no further runs."""
        self.given_up = self.given_up or error

    def lose(self, place: Place, why: str, runs: int, *, is_there: bool) -> str:
        """Count a lost process, and return a sentence about it. After `LOSSES` lost processes in a row, give the engine up."""
        self.losses += 1
        node = place.node.name
        what = (
            f"A process of {self._name} on the node {node} was lost"
            if is_there
            else f"The node {node} was lost"
        )
        if self.losses >= LOSSES:
            self.give_up(
                ParagoneError(
                    f"Processes of {self._name} were lost {LOSSES} times in a row, the last one on the node {node}: {why}"
                )
            )
        again = (
            f" {counted(runs, 'run')} of the process {'is' if runs == 1 else 'are'} executed again."
            if runs
            else ""
        )
        return f"{what}: {why}{again}"

    def fail(self, place_number: int, place: Place, sentence: str, hint: str) -> None:
        """Stop using a place whose process gave the engine up."""
        self._failed[place_number] = ParagoneError(f"On the node {place.node.name}: {sentence}", hint=hint)

    def has_failed(self, place_number: int) -> bool:
        """Return whether a place is no longer used."""
        return place_number in self._failed

    def leave(self, place_number: int, *, is_done: bool = False) -> None:
        """Stop using a place. If no place is left, the engine is given up, unless all runs are done."""
        self.shards.pop(place_number, None)
        self._places.discard(place_number)
        if not self._places and not is_done:
            why = next(iter(self._failed.values()), None)
            self.give_up(
                why or ParagoneError(f"All nodes of the cluster that {self._name} had places on are gone.")
            )
