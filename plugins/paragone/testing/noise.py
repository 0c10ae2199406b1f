"""Measurement of an engine's numerical noise, which is the tolerance of other checks.

Rounding depends on the batch size, so an engine computes slightly different log-probabilities for the
same tokens. The differences depend on the processor, and are between zero and tenths of a nat. The tolerance is therefore
measured in the same test run and is not a constant.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple

from paragone.backend import OpenEngine
from paragone.values.messages import DistributionsRequest

FACTOR = 4.0
"""The tolerance as a multiple of the measured noise, whose sample is small and whose tail is heavy."""

FLOOR = 1e-3
"""Smallest tolerance in nats: the error of a softmax over 262,144 numbers in single precision."""

BATCHES = (1, 3)
"""Batch sizes to compare with the engine's own. Libraries have special code for one token and for few tokens."""


class Noise(NamedTuple):
    """Absolute differences between log-probabilities of the same tokens, in nats."""

    mean: float
    largest: float


def noise_between(one: Sequence[float], other: Sequence[float]) -> Noise:
    """Return the noise between two measurements."""
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return Noise(sum(differences) / len(differences), max(differences))


async def noise_of(engine: OpenEngine, ids: Sequence[int]) -> Noise:
    """Measure the noise of an engine with distributions, by computing a sequence in several batch sizes."""
    own = await log_probabilities(engine, ids)
    found = [noise_between(own, await log_probabilities(engine, ids, batch)) for batch in BATCHES]
    return Noise(max(noise.mean for noise in found), max(noise.largest for noise in found))


async def log_probabilities(
    engine: OpenEngine, ids: Sequence[int], batch: int | None = None, start: int = 0
) -> list[float]:
    """Return the log-probabilities of the tokens after `start`, from the distributions before them."""
    request = DistributionsRequest(ids=tuple(ids[:-1]), start=start, batch=batch)
    found: list[float] = []
    async with contextlib.aclosing(engine.distributions(request)) as blocks:
        async for block in blocks:
            rows = block.data.cast("B").cast("f")
            for row in range(block.rows):
                logits = rows[row * block.vocab_size : (row + 1) * block.vocab_size].tolist()
                peak = max(logits)
                norm = peak + math.log(math.fsum(math.exp(logit - peak) for logit in logits))
                found.append(logits[ids[block.start + row + 1]] - norm)
    return found


def check_agreement(one: Sequence[float], other: Sequence[float], noise: Noise, what: str) -> None:
    """Check that two computations of the same log-probabilities differ only by noise."""
    found = noise_between(one, other)
    limit = Noise(FACTOR * noise.mean + FLOOR, FACTOR * noise.largest + FLOOR)
    assert found.mean <= limit.mean, (
        f"{what} differ by {found.mean:.4f} nats per token; the noise allows {limit}"
    )
    assert found.largest <= limit.largest, (
        f"{what} differ by {found.largest:.4f} nats; the noise allows {limit}"
    )
