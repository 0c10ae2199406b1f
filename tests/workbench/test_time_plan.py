"""How the time of a choice is used."""

from dataclasses import replace

import pytest

from paragone_workbench.choosing.measurements import REPEAT, TEST
from paragone_workbench.choosing.throughput import REQUESTS, USERS_TESTS
from paragone_workbench.choosing.timing.time_plan import Pace, TimePlan, plan_text, plan_time


def planned(seconds: float) -> TimePlan:
    """Return the plan for two engines that take a second for each 100 tokens of an answer, and no time for a prompt."""
    names = ["a", "b"]
    return plan_time(
        seconds,
        {name: Pace(prefill_s=0.0, decode_s=0.01) for name in names},
        to_bench=names,
        with_users=names,
        to_compare=(),
        runs_left={"a": 100, "b": 100},
        prompts=100,
        fewest=20,
        usual_run=(100, 100),
    )


def test_the_time_for_everything_has_what_there_is_no_time_for():
    short, long = planned(60), planned(1000)
    assert short.users_s is None
    assert long.users_s == pytest.approx(2 * REQUESTS * USERS_TESTS[0].tokens / 100)
    bench_s = 2 * (1 + REPEAT) * TEST.tokens / 100
    assert short.all_s == long.all_s == pytest.approx(bench_s + long.users_s + 200)


def test_the_text_says_how_many_of_the_prompts():
    plan = replace(planned(1000), prompts=1, left=1, prompt_s=2.0, users_s=None)
    assert "for 1 prompt." in plan_text(plan, bench=False, fidelity=False)
    assert "for 1 of 20 prompts." in plan_text(replace(plan, left=20), bench=False, fidelity=False)
