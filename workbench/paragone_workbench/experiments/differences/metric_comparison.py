"""A comparison of two engines over a suite: by one metric, or by the texts of answers."""

from __future__ import annotations

from dataclasses import dataclass

from paragone import Json
from paragone.wire import to_json
from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE, Metric
from paragone_workbench.statistics.intervals import FEWEST
from paragone_workbench.statistics.paired import LEVEL, PairedDifference


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """A comparison of two engines by one metric.

    Attributes:
        a: The first engine.
        b: The second engine.
        metric: The metric.
        paired: The difference B − A.
        adjusted_p: The p-value after Holm's correction for all comparisons over `FEWEST` prompts or more. None for a
            comparison over fewer prompts, which can show no difference and is left out of the correction.
        comparisons: Number of comparisons in Holm's correction.
        repeated: Whether an engine answered a prompt more than once.
    """

    a: str
    b: str
    metric: Metric
    paired: PairedDifference
    adjusted_p: float | None
    comparisons: int
    repeated: bool = False

    @property
    def shown(self) -> bool:
        """Whether the data show a difference: the adjusted p-value is below 0.05 and the interval excludes 0."""
        return self.adjusted_p is not None and self.adjusted_p < LEVEL and self._is_zero_excluded

    @property
    def _is_contradictory(self) -> bool:
        """Whether the p-value and the interval, which come from different methods, disagree."""
        if self.adjusted_p is None or self.paired.interval is None:
            return False
        return (self.adjusted_p < LEVEL) != self._is_zero_excluded

    @property
    def _is_zero_excluded(self) -> bool:
        return self.paired.interval is None or not self.paired.interval.contains_zero

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        metric, paired = self.metric, self.paired
        details = "; ".join(filter(None, (self._interval(), self._counts(), self._p())))
        if self.shown:
            template = metric.more if paired.difference > 0 else metric.less
            amount = f"{metric.shown(abs(paired.difference))} {metric.unit}".rstrip()
            return f"{template.format(a=self.a, b=self.b, amount=amount)} ({details})."
        if not (paired.more_a or paired.more_b):
            return f"{self.b} and {self.a} do not differ in {metric.title} at any of {counted(paired.prompts, 'prompt')}{metric.where}."
        amount = f"{self.b} − {self.a} = {metric.shown(paired.difference)} {metric.unit}".rstrip()
        if self._is_contradictory:
            return f"In {metric.title}, {amount}; the test and the interval disagree, so no difference is claimed ({details})."
        return f"In {metric.title}, {amount}, which may be chance ({details})."

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON. Values are in the units of the metric's name: shares, seconds, tokens."""
        paired = to_json(self.paired, complete=True)
        paired["interval_method"] = paired.pop("method")
        return {
            "a": self.a,
            "b": self.b,
            "metric": self.metric.name,
            **paired,
            "difference": self.paired.difference,
            "adjusted_p": self.adjusted_p,
            "comparisons": self.comparisons,
            "shown": self.shown,
            "sentence": self.sentence,
        }

    def _interval(self) -> str:
        metric, interval = self.metric, self.paired.interval
        if interval is not None:
            # the sentence shows a negative difference without a sign, so the signs of the interval change too
            turn = -1 if self.shown and self.paired.difference < 0 else 1
            low, high = sorted((turn * interval.low, turn * interval.high))
            return f"95% interval {metric.shown(low)} to {metric.shown(high)}"
        if self.paired.prompts < FEWEST:
            return f"no interval below {FEWEST} prompts, here {self.paired.prompts}"
        return "no interval, as all prompts differ by the same amount"

    def _counts(self) -> str:
        if self.metric != PASS_RATE:
            return counted(self.paired.prompts, "prompt") if self.paired.prompts >= FEWEST else ""
        word = "more often" if self.repeated else "only"
        return (
            f"{counted(self.paired.more_b, 'prompt')} {word} {self.b}, {self.paired.more_a} {word} {self.a}"
        )

    def _p(self) -> str:
        if self.adjusted_p is None:
            return ""
        p = "p < 0.001" if self.adjusted_p < 0.001 else f"p = {self.adjusted_p:.2g}"
        if self.comparisons == 1:
            return f"{p}, from another method than the interval" if self._is_contradictory else p
        corrected = f"{p} after Holm's correction for {self.comparisons} comparisons"
        return f"{corrected}, and the interval is not corrected" if self._is_contradictory else corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAnswers:
    """How often two engines gave the same text.

    Attributes:
        a: The first engine.
        b: The second engine.
        prompts: Number of prompts that both engines answered.
        share: Mean over the prompts of the share of repetitions with equal texts.
        sampled: Whether an answer was sampled: the temperature was above 0.
    """

    a: str
    b: str
    prompts: int
    share: float
    sampled: bool = False

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        sentence = f"{self.a} and {self.b} gave the same answer to {self.share:.1%} of {counted(self.prompts, 'prompt')}."
        if self.sampled and self.share < 1:
            sentence += (
                " The temperature was above 0, so sampling makes answers differ too; `--set temperature=0` "
                "leaves chance out."
            )
        return sentence

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "prompts": self.prompts,
            "share": self.share,
            "sentence": self.sentence,
        }
