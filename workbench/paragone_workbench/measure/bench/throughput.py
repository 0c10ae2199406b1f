"""The throughput of an engine with several users at once: tokens per second in total and for each user, and latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paragone_workbench.measure.bench.notes import notes_of
from paragone_workbench.measure.bench.plan import UsersTest
from paragone_workbench.measure.bench.spread import Distribution, Spread
from paragone_workbench.runs.metrics import RunMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Figures of the answers that ended while all users had requests in progress, as docs/bench.md defines them."""

    answers: int
    """Number of answers."""
    seconds: float
    """Duration of the measurement in seconds."""
    tokens_per_s: float
    """Generated tokens of all answers per second."""
    user_tps: Spread | None
    """Tokens per second after the first token, in each answer."""
    ttft_s: Distribution | None
    tpot_ms: Distribution | None
    itl_ms: Distribution | None
    """Milliseconds from a token to the next, over all answers; from a piece to the next, if `is_in_pieces`."""
    is_in_pieces: bool
    """Whether the engine sent several tokens in a piece."""
    notes: tuple[str, ...]
    """Remarks that a reader of the figures must know, as sentences."""

    @classmethod
    def of(
        cls, test: UsersTest, answers: Sequence[RunMetrics], gaps_ms: Sequence[float], seconds: float
    ) -> Throughput:
        """Return the figures of answers. `gaps_ms` has the milliseconds between the tokens of the answers."""
        each = [answer.tpot_ms for answer in answers if answer.tpot_ms]
        return cls(
            answers=len(answers),
            seconds=seconds,
            tokens_per_s=sum(answer.completion_tokens for answer in answers) / seconds,
            user_tps=Spread.of([1000 / tpot_ms for tpot_ms in each]),
            ttft_s=Distribution.of([answer.ttft_s for answer in answers if answer.ttft_s is not None]),
            tpot_ms=Distribution.of(each),
            itl_ms=Distribution.of(gaps_ms),
            is_in_pieces=any(answer.is_in_pieces for answer in answers),
            notes=notes_of(test, answers),
        )
