"""How the time of a choice is used."""

from paragone_workbench.choosing.timing.time_plan import Pace, TimePlan, plan_time
from paragone_workbench.measure.bench.plan import BenchTest

TEST = BenchTest(prompt_tokens=100, depth=0, tokens=100)


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
        prompt_tokens=100,
        answer_tokens=100,
        test=TEST,
        repeat=3,
        users_test=TEST,
        requests=21,
    )


def test_the_time_for_everything_has_what_there_is_no_time_for():
    short, long = planned(60), planned(1000)
    assert (short.users_s, long.users_s) == (None, 42.0)
    assert short.all_s == long.all_s == 8 + 42 + 200
