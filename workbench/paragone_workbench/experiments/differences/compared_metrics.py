"""The metrics by which engines are compared over a suite, and the words for a difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paragone_workbench.statistics.estimate import decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of runs.

    Attributes:
        name: The name in JSON.
        title: The name for people.
        timed: Whether a value depends on the speed of the machine at the time of the run.
        unit: The unit of a shown value; empty for a number without a unit.
        factor: The factor from a value to the shown number.
        digits: Decimals of a shown value.
        more: A sentence without its full stop, for an engine `b` whose value is larger than the value of `a` by `amount`.
        less: The sentence for a smaller value.
        where: Words that follow a number of prompts, and say which prompts have a value; empty if almost all prompts have one.
    """

    name: str
    title: str
    timed: bool = False
    unit: str = ""
    factor: float = 1
    digits: int = 1
    more: str
    less: str
    where: str = ""

    def shown(self, value: float) -> str:
        """Return the shown number for a value, without a unit."""
        return decimal(self.factor * value, self.digits)


PASS_RATE = Metric(
    name="pass_rate",
    title="pass rate",
    unit="points",
    factor=100,
    more="{b} passes {amount} more often than {a}",
    less="{b} passes {amount} less often than {a}",
)

SPEEDS = (
    Metric(
        name="completion_tokens",
        title="completion tokens",
        unit="tokens",
        more="{b} generates {amount} more than {a}",
        less="{b} generates {amount} less than {a}",
    ),
    Metric(
        name="ttft_s",
        title="TTFT",
        timed=True,
        unit="ms",
        factor=1000,
        more="{b} takes {amount} longer to its first token than {a}",
        less="{b} takes {amount} less to its first token than {a}",
    ),
    Metric(
        name="decode_tps",
        title="decode rate",
        timed=True,
        unit="tokens/s",
        more="{b} decodes {amount} faster than {a}",
        less="{b} decodes {amount} slower than {a}",
    ),
    Metric(
        name="total_s",
        title="total time",
        timed=True,
        unit="s",
        digits=2,
        more="{b} takes {amount} longer for an answer than {a}",
        less="{b} takes {amount} less for an answer than {a}",
    ),
)
"""The metrics of a run's tokens and times. `total_s` is the time to the last token."""


def in_order(metrics: Iterable[Metric]) -> list[Metric]:
    """Return metrics, each once, in the order in which they are shown: pass rate, scores by name, tokens and times."""
    known = set(metrics)
    scores = sorted(known - {PASS_RATE, *SPEEDS}, key=lambda metric: metric.name)
    return [metric for metric in (PASS_RATE, *scores, *SPEEDS) if metric in known]


def score_metric(name: str) -> Metric:
    """Return the metric of a score: of a judge, or of an assertion that checks how many values of a list an answer has."""
    return Metric(
        name=f"score {name}",
        title=f"score of {name}",
        digits=3,
        where=" with this score",
        more=f"{{b}} scores {{amount}} higher than {{a}} in {_literal(name)}",
        less=f"{{b}} scores {{amount}} lower than {{a}} in {_literal(name)}",
    )


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
