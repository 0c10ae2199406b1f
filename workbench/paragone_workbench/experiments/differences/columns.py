"""Columns of numbers, instead of an object for each run: a comparison of a million runs fits in memory.

Prompts are numbered from 0 without gaps, so that a prompt's number is its index in a column.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING

from paragone_workbench.statistics.scientific import Values, np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


class PromptMeans:
    """The means of a metric over the repetitions of each prompt, in 12 bytes a prompt."""

    def __init__(self) -> None:
        self._sums = array("d")
        self._counts = array("I")

    def add(self, prompt: int, value: float) -> None:
        """Add the value of a run."""
        missing = prompt + 1 - len(self._sums)
        if missing > 0:
            self._sums.extend([0.0] * missing)
            self._counts.extend([0] * missing)
        self._sums[prompt] += value
        self._counts[prompt] += 1

    def means(self) -> tuple[Numbers, Values]:
        """Return the numbers of the prompts that have a value, in ascending order, and the mean of each prompt."""
        counts = np.array(self._counts)
        prompts = np.flatnonzero(counts)
        return prompts, np.array(self._sums)[prompts] / counts[prompts]


class RunColumns:
    """The columns that are compared run by run (answers, starts and decode rates), in 32 bytes a run."""

    def __init__(self) -> None:
        self.repeated = False
        """Whether a prompt was answered more than once."""
        self._keys = array("Q")
        self._digests = array("Q")
        self._starts = array("d")
        self._rates = array("d")

    def add(
        self,
        prompt: int,
        repetition: int,
        text: str,
        *,
        started: float | None = None,
        rate: float | None = None,
    ) -> None:
        """Add a run. `started` is in seconds since 1970, `rate` in tokens per second; None for times that are not compared."""
        self.repeated = self.repeated or repetition > 0
        self._keys.append(prompt << 32 | repetition)
        digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
        self._digests.append(int.from_bytes(digest, "little"))
        self._starts.append(np.nan if started is None else started)
        self._rates.append(np.nan if rate is None else rate)

    @property
    def has_starts(self) -> bool:
        """Whether the start of at least one run is known."""
        return not bool(np.isnan(np.array(self._starts)).all())

    def rates(self) -> Values:
        """Return the known decode rates, in the order in which the runs began."""
        starts, rates = np.array(self._starts), np.array(self._rates)
        known = ~(np.isnan(starts) | np.isnan(rates))
        starts, rates = starts[known], rates[known]
        ordered: Values = rates[np.lexsort((rates, starts))]
        return ordered

    def common_starts(self, other: RunColumns) -> tuple[Values, Values]:
        """Return the starts of the runs of both engines, for the prompts and repetitions of which both starts are known."""
        here, there = self._common(other)
        starts, others = np.array(self._starts)[here], np.array(other._starts)[there]
        known = ~(np.isnan(starts) | np.isnan(others))
        return starts[known], others[known]

    def same_shares(self, other: RunColumns) -> Values:
        """Return, for each prompt that both engines answered, the share of repetitions with equal answers."""
        here, there = self._common(other)
        equal = np.array(self._digests)[here] == np.array(other._digests)[there]
        _, prompts = np.unique(np.array(self._keys)[here] >> np.uint64(32), return_inverse=True)
        counts = np.bincount(prompts)
        shares: Values = np.bincount(prompts, weights=equal) / counts
        return shares

    def _common(self, other: RunColumns) -> tuple[Numbers, Numbers]:
        """Return the indices, here and in `other`, of the runs whose keys both columns have, by ascending prompts."""
        own_keys, own_runs = self._last_runs()
        other_keys, other_runs = other._last_runs()
        _, own, others = np.intersect1d(own_keys, other_keys, assume_unique=True, return_indices=True)
        return own_runs[own], other_runs[others]

    def _last_runs(self) -> tuple[NDArray[np.uint64], Numbers]:
        """Return the keys, each once, and the index of the last run with each key."""
        keys = np.array(self._keys)
        found, last = np.unique(keys[::-1], return_index=True)
        return found, len(keys) - 1 - last
