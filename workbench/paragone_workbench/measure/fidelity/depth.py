"""Divergence by depth, which is the number of tokens that precede a position in the context.

A quantized KV cache can be good at the start and become worse with every token in the cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import Json
from paragone_workbench.measure.fidelity.positions import mean
from paragone_workbench.statistics.estimate import Estimate
from paragone_workbench.statistics.intervals import Interval, t_interval
from paragone_workbench.statistics.numeric import Values, np
from paragone_workbench.statistics.paired import LEVEL, holm, t_test

PARTS = 4
"""Number of parts into which the scored positions are divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthPart:
    """A range of depths of the scored positions.

    Attributes:
        first: The smallest depth in tokens.
        last: The largest depth in tokens.
        kld: The mean KL divergence in nats.
    """

    first: int
    last: int
    kld: Estimate

    @property
    def _tokens(self) -> str:
        """The range of depths in tokens, for a sentence."""
        return f"{self.first:,} to {self.last:,}" if self.last > self.first else f"{self.first:,}"

    @property
    def title(self) -> str:
        """The range of depths in tokens, for a table."""
        return self._tokens.replace(" to ", "–")

    @property
    def text(self) -> str:
        """The divergence and the range of depths, for a sentence."""
        return f"{self.kld.value:.3g} after {self._tokens}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The divergence of a candidate by depth.

    Attributes:
        parts: The ranges of depths, the shallowest first; empty without measurements.
        growth: The divergence of the last part minus that of the first part, as a mean over the windows; None with too few
            windows.
        interval: The 95% interval of the growth.
        adjusted_p: The p-value of the t-test over windows, after Holm's correction for all candidates.
    """

    parts: tuple[DepthPart, ...] = ()
    growth: Estimate | None = None
    interval: Interval | None = None
    adjusted_p: float | None = None

    @property
    def grows(self) -> bool:
        """Whether the divergence is shown to grow with the depth."""
        return (
            self.growth is not None
            and self.growth.value > 0
            and self.adjusted_p is not None
            and self.adjusted_p < LEVEL
        )

    @property
    def sentence(self) -> str:
        """A clause about the growth; empty if no growth is shown."""
        if not self.grows:
            return ""
        first, last = self.parts[0].text, self.parts[-1].text
        return f"the KLD grows with the depth in the context, from {first} tokens to {last}."

    def to_json(self) -> dict[str, Json]:
        """Return the parts and the growth."""
        return {
            "parts": [
                {
                    "first": part.first,
                    "last": part.last,
                    "mean_kld": part.kld.value,
                    "mean_kld_se": part.kld.error,
                }
                for part in self.parts
            ],
            "growth": None if self.growth is None else self.growth.value,
            "interval": None if self.interval is None else self.interval.to_json(),
            "adjusted_p": self.adjusted_p,
            "grows": self.grows,
        }


def depths(klds: Sequence[Values], window: int) -> tuple[Depth, ...]:
    """Return the divergence of each candidate by depth, from the KL divergences. `window` is the size of a window."""
    found = [_depth(kld, window) for kld in klds]
    tested = [index for index, depth in enumerate(found) if depth.adjusted_p is not None]
    adjusted = dict(zip(tested, holm([found[index].adjusted_p or 0.0 for index in tested]), strict=True))
    return tuple(
        dataclasses.replace(depth, adjusted_p=adjusted.get(index)) for index, depth in enumerate(found)
    )


def _depth(kld: Values, window: int) -> Depth:
    """Return the divergence by depth, with the p-value before any correction."""
    if not kld.size or kld.shape[1] < PARTS:
        return Depth()
    columns = np.array_split(np.arange(kld.shape[1]), PARTS)
    before = window // 2 + 1  # tokens that precede the first scored position
    parts = []
    for part in columns:
        estimate = mean(kld[:, part])
        assert estimate is not None  # there are values
        parts.append(DepthPart(first=before + int(part[0]), last=before + int(part[-1]), kld=estimate))
    growths = kld[:, columns[-1]].mean(axis=1) - kld[:, columns[0]].mean(axis=1)
    growth = mean(growths[:, None])
    if growth is None or growth.error is None:
        return Depth(parts=tuple(parts))
    return Depth(
        parts=tuple(parts),
        growth=growth,
        interval=t_interval(growth.value, growth.error, len(growths)),
        adjusted_p=t_test(growths),
    )
