"""The memory of a program over time, and whether it grows."""

import statistics
from dataclasses import dataclass, field

import psutil

MIB = 2**20
MOST_MIB_AN_HOUR = 4.0
"""Largest growth in MiB an hour that counts as flat."""
_WARM_S = 1800.0
"""Seconds until a program has used all its features in all sizes of the terminal, and its caches are full."""
_LEAST_S = 600.0
"""Shortest period of samples, in seconds, from which growth is computed."""


@dataclass
class MemoryOverTime:
    """Samples of one program from its start to its end."""

    name: str
    seconds: list[float] = field(default_factory=list)
    """Seconds since the program's start, for each sample."""
    bytes: list[int] = field(default_factory=list)
    """Unshared memory (USS) of the application's process, without its children."""
    descriptors: list[int] = field(default_factory=list)

    def sample(self, process: psutil.Process, seconds: float) -> None:
        """Add a sample, unless the program has just ended."""
        try:
            used, descriptors = int(process.memory_full_info().uss), process.num_fds()
        except psutil.Error:
            return
        self.seconds.append(seconds)
        self.bytes.append(used)
        self.descriptors.append(descriptors)

    @property
    def growth(self) -> float | None:
        """Growth in MiB an hour: the slope of a line through the samples after the warm-up; None if these are too few."""
        warm = [pair for pair in zip(self.seconds, self.bytes, strict=True) if pair[0] >= _WARM_S]
        if len(warm) < 10 or warm[-1][0] - warm[0][0] < _LEAST_S:
            return None
        line = statistics.linear_regression(
            [seconds / 3600 for seconds, _ in warm], [used / MIB for _, used in warm]
        )
        return line.slope

    @property
    def is_flat(self) -> bool:
        """Whether the memory does not grow, or the program ran too shortly to tell."""
        return self.growth is None or self.growth <= MOST_MIB_AN_HOUR
