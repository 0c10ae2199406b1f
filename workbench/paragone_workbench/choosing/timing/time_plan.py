"""Plans what can be measured in a given time: how many prompts of the suite, and what the rest of the time is for.

The suite comes first, since its answers decide. At most a fifth of the time is reserved for the fidelity, which also gets
the time that is left after all prompts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from paragone import Json
from paragone.json_fields import number_at, objects_at
from paragone.wording import counted
from paragone_workbench.choosing.measurements import REPEAT, TEST, WINDOW
from paragone_workbench.choosing.throughput import REQUESTS, USERS_TESTS
from paragone_workbench.choosing.timing.durations import duration_text

_FIDELITY_SHARE = 0.2
"""Largest share of the time for the fidelity, if the time is too short for all prompts."""

_SPEED_SHARE = 0.15
"""Largest share of the time for the speeds, and largest share for the throughputs with several users."""

GREEDY_PROMPTS = 12
"""Number of prompts that the engines answer greedily."""

_WINDOWS = 5
"""The approximate number of windows of the text that comes with paragone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The speed of an engine, in seconds per token."""

    prefill_s: float
    """Seconds for each token of a prompt."""
    decode_s: float
    """Seconds for each token of an answer."""

    def run_s(self, prompt_tokens: float, tokens: float) -> float:
        """Return the seconds that a run takes."""
        return prompt_tokens * self.prefill_s + tokens * self.decode_s


def pace_of(measured: Mapping[str, Json]) -> Pace | None:
    """Return the pace of an engine from the JSON of `bench`; None if the engine was not measured.

    A machine that is busy for a moment delays an answer of a few tokens. The time of a token is therefore the median if that is
    shorter than the mean.
    """
    for test in objects_at(measured, "tests"):
        if not test.get("repetitions"):
            continue
        names = ("decode_tps", "prefill_tps", "ttft_s", "itl_p50_ms")
        decode, prefill, ttft, median_ms = (number_at(test, name, "mean") for name in names)
        decode_s = [*([1 / decode] if decode else []), *([median_ms / 1000] if median_ms else [])]
        tokens = test.get("prompt_tokens")
        if not prefill and isinstance(tokens, int) and ttft:
            prefill = tokens / ttft
        return Pace(prefill_s=1 / prefill if prefill else 0.0, decode_s=min(decode_s, default=0.0))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePlan:
    """How the time is shared among the measurements.

    Attributes:
        seconds: Seconds that are left.
        speed_s: Seconds for the speeds; 0 if there is no time, so that the speeds of the answers are used instead.
        users_s: Seconds for the throughputs with several users; None if there is no time for this measurement.
        prompt_s: Seconds that all engines together take for a prompt.
        left: Number of prompts that at least one engine has not answered.
        prompts: Number of further prompts for which there is time.
        fewest: Smallest number of further prompts that allows a decision.
        fidelity_s: Seconds that the fidelity needs.
        all_s: Seconds that all measurements need, including those for which there is no time.
    """

    seconds: float
    speed_s: float
    users_s: float | None
    prompt_s: float
    left: int
    prompts: int
    fewest: int
    fidelity_s: float
    all_s: float

    @property
    def fewest_s(self) -> float:
        """Seconds below which nothing can be decided."""
        rest = 1 - 2 * _SPEED_SHARE - _FIDELITY_SHARE
        return self.fewest * self.prompt_s / rest

    def suite_ends(self) -> float:
        """Return the seconds from now after which the suite must end, so that the fidelity gets its time."""
        return self.seconds - min(self.fidelity_s, _FIDELITY_SHARE * self.seconds)

    @property
    def fidelity_is_whole(self) -> bool:
        """Whether there is time for the whole fidelity."""
        rest = self.seconds - self.speed_s - (self.users_s or 0.0) - self.prompts * self.prompt_s
        return rest >= self.fidelity_s


def plan_time(
    seconds: float,
    paces: Mapping[str, Pace],
    *,
    to_bench: Collection[str],
    with_users: Collection[str],
    to_compare: Collection[str],
    runs_left: Mapping[str, int],
    prompts: int,
    fewest: int,
    usual_run: tuple[float, float],
) -> TimePlan:
    """Return how the time is shared among the measurements.

    Args:
        seconds: Seconds that are left.
        paces: The speeds of the engines, by name.
        to_bench: The engines whose speed is to be measured.
        with_users: The engines that get requests from several users at once. The plan assumes that the requests are sent one
            after the other.
        to_compare: The engines whose distributions are to be read, including the reference; empty without such engines.
        runs_left: Number of unfinished runs of the suite, by the engine's name.
        prompts: Number of prompts of the suite that at least one engine has not answered.
        fewest: Smallest number of further prompts that allows a decision.
        usual_run: Mean number of tokens of a prompt, and number of tokens of an answer.
    """
    bench_runs = REPEAT + 1  # the first run is a warm-up
    bench_s = sum(bench_runs * paces[name].run_s(TEST.prompt_tokens, TEST.tokens) for name in to_bench)
    speed_s = bench_s if bench_s <= _SPEED_SHARE * seconds else 0.0
    suite_s = sum(count * paces[name].run_s(*usual_run) for name, count in runs_left.items())
    prompt_s = suite_s / prompts if prompts else 0.0
    noise_s = WINDOW * max((paces[name].decode_s for name in to_compare), default=0.0)
    fidelity_s = noise_s + sum(
        _WINDOWS * WINDOW * paces[name].prefill_s + GREEDY_PROMPTS * paces[name].run_s(*usual_run)
        for name in to_compare
    )
    request = USERS_TESTS[0]
    all_users_s = sum(
        REQUESTS * paces[name].run_s(request.prompt_tokens, request.tokens) for name in with_users
    )
    spare = seconds - speed_s - suite_s - fidelity_s
    users_s = all_users_s if all_users_s <= max(_SPEED_SHARE * seconds, spare) else None
    rest = seconds - speed_s - (users_s or 0.0)
    fits = (
        math.floor(max(rest - fidelity_s, rest - _FIDELITY_SHARE * seconds) / prompt_s)
        if prompt_s
        else prompts
    )
    return TimePlan(
        seconds=seconds,
        speed_s=speed_s,
        users_s=users_s,
        prompt_s=prompt_s,
        left=prompts,
        prompts=max(0, min(prompts, fits)),
        fewest=fewest,
        fidelity_s=fidelity_s,
        all_s=bench_s + all_users_s + suite_s + fidelity_s,
    )


def spread_out(indices: Sequence[int], count: int) -> frozenset[int]:
    """Return `count` of the indices, at equal distances, so that all parts of a suite are represented."""
    return frozenset(indices[number * len(indices) // count] for number in range(min(count, len(indices))))


def plan_text(plan: TimePlan, *, bench: bool, fidelity: bool) -> str:
    """Return a sentence about how the time is used."""
    parts = []
    if bench and plan.speed_s:
        parts.append(f"{duration_text(plan.speed_s)} for the speed")
    if plan.users_s:
        parts.append(f"{duration_text(plan.users_s)} for users at once")
    if plan.left:
        of = f"{plan.prompts} of " if plan.prompts < plan.left else ""
        parts.append(f"{duration_text(plan.prompts * plan.prompt_s)} for {of}{counted(plan.left, 'prompt')}")
    if fidelity:
        whole = "" if plan.fidelity_is_whole else "a part of "
        parts.append(f"the rest for {whole}the fidelity")
    sentence = f"The time is enough for about: {', '.join(parts)}."
    if plan.prompts < plan.left:
        sentence += f" Everything would take about {duration_text(plan.all_s)}."
    return sentence
