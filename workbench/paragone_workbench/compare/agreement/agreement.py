"""How the greedy answers of an engine agree with those of a reference to the same prompts.

Each engine continues its own earlier tokens. So this comparison shows what a comparison of distributions over a given text
cannot: a small difference that leads to another answer, and a model that repeats itself without end.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from paragone import Json
from paragone.wire import to_json
from paragone_workbench.compare.agreement.degenerate import is_degenerate, is_empty, is_loop
from paragone_workbench.compare.divergence import divergence
from paragone_workbench.runs.metrics import percentile
from paragone_workbench.runs.result import RunResult
from paragone_workbench.statistics.intervals import Interval, share_interval

FEWEST_LOST = 3
"""Fewest lost answers of an engine that has collapsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """The lengths and the faults of an engine's answers.

    Attributes:
        loops: Number of answers that end in a loop.
        empty: Number of answers without text.
        cut: Number of answers that a limit ended.
        median_tokens: Median length of the answers in tokens; None without answers.
    """

    engine: str
    answers: int
    loops: int
    empty: int
    cut: int
    median_tokens: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How the answers of `candidate` agree with those of `reference`.

    Attributes:
        prompts: Number of prompts that both engines answered.
        identical: Number of prompts to which both engines gave the same text.
        forks: For each prompt with different texts, how many tokens are the same before the first different token, in
            ascending order. A prompt with an unknown number is left out, for example because an answer was cut before the
            first difference.
        unit: The unit of `forks`: characters, if an engine does not report its tokens.
        length_ratio: Tokens of the candidate's answers, divided by the tokens of the reference's; None if the reference generated no tokens.
        sound: Number of prompts at which the reference's answer is not degenerate.
        lost: Number of prompts at which only the candidate's answer is degenerate.
        regained: Number of prompts at which only the reference's answer is degenerate.
    """

    reference: str
    candidate: str
    prompts: int
    identical: int
    forks: tuple[int, ...]
    unit: Literal["token", "character"]
    length_ratio: float | None
    sound: int
    lost: int
    regained: int

    @property
    def interval(self) -> Interval | None:
        """The 95% interval of the share of identical answers; None without prompts."""
        return share_interval(self.identical / self.prompts, self.prompts) if self.prompts else None

    @property
    def fork_quartiles(self) -> tuple[float, float, float] | None:
        """The lower quartile, the median and the upper quartile of `forks`; None if `forks` is empty."""
        if not self.forks:
            return None
        return percentile(self.forks, 25), percentile(self.forks, 50), percentile(self.forks, 75)

    @property
    def is_collapsed(self) -> bool:
        """Whether the candidate has lost at least three answers, and more than half of the answers to the `sound` prompts."""
        return self.lost >= FEWEST_LOST and 2 * self.lost > self.sound

    def to_json(self) -> dict[str, Json]:
        """Return the fields, and the values that are computed from them."""
        quartiles = self.fork_quartiles
        fields = to_json(self, complete=True)
        del fields["forks"], fields["unit"]
        return {
            **fields,
            "interval": None if self.interval is None else self.interval.to_json(),
            "forks": {
                "unit": self.unit,
                "known": len(self.forks),
                **dict(zip(("p25", "median", "p75"), quartiles or (None,) * 3, strict=True)),
            },
            "collapsed": self.is_collapsed,
        }


def conduct(engine: str, answers: Iterable[RunResult]) -> Conduct:
    """Return how many answers of an engine are degenerate, and how long its answers are."""
    found = tuple(answers)
    return Conduct(
        engine=engine,
        answers=len(found),
        loops=sum(map(is_loop, found)),
        empty=sum(map(is_empty, found)),
        cut=sum(answer.finish == "length" for answer in found),
        median_tokens=statistics.median(map(_tokens, found)) if found else None,
    )


def agreement(reference: str, candidate: str, pairs: Sequence[tuple[RunResult, RunResult]]) -> Agreement:
    """Compare two engines by pairs of answers, the reference's and the candidate's, to the same prompts."""
    is_same = [_is_same(*pair) for pair in pairs]
    kept = all(answer.keeps_tokens for pair in pairs for answer in pair)
    partings = (
        divergence(*pair, same_vocabulary=False)
        for pair, same in zip(pairs, is_same, strict=True)
        if not same
    )
    forks = [parting.token if kept else parting.char for parting in partings]
    judged = [(is_degenerate(first), is_degenerate(second)) for first, second in pairs]
    length = sum(_tokens(first) for first, _ in pairs)
    return Agreement(
        reference=reference,
        candidate=candidate,
        prompts=len(pairs),
        identical=sum(is_same),
        forks=tuple(sorted(fork for fork in forks if fork is not None)),
        unit="token" if kept else "character",
        length_ratio=sum(_tokens(second) for _, second in pairs) / length if length else None,
        sound=sum(not first for first, _ in judged),
        lost=sum(second and not first for first, second in judged),
        regained=sum(first and not second for first, second in judged),
    )


def _is_same(first: RunResult, second: RunResult) -> bool:
    return (first.thinking, first.text) == (second.thinking, second.text)


def _tokens(answer: RunResult) -> int:
    return answer.metrics.completion_tokens if answer.metrics is not None else len(answer.tokens)
