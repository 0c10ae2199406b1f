"""The bench: its order, its prompts, and exact figures from an engine with scripted times."""

import asyncio
import itertools
import types

import pytest
from scripted_times import NOW, ScriptedBackend, ScriptedEngine

from paragone import InputError
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure import bench as measure
from paragone_workbench.measure.bench import (
    Bench,
    BenchTest,
    bench_json,
    bench_pool,
    bench_tests,
    steps_of,
    users_tests,
)
from paragone_workbench.measure.sections import bench_sections
from paragone_workbench.runs import execute
from paragone_workbench.runs.scheduler import ScheduleDecision

TEST = BenchTest(prompt_tokens=12, depth=0, tokens=5)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Every prompt is sent at NOW."""
    fixed = types.SimpleNamespace(monotonic=lambda: NOW, time=lambda: NOW)
    monkeypatch.setattr(execute, "time", fixed)
    ScriptedEngine.log.clear()


def bench(*models, tests=(TEST,), users=(), repeat=2, **options):
    registry = Registry()
    registry._found["scripted"] = ScriptedBackend()
    definitions = [
        EngineDefinition(name=model, backend="scripted", model=model, options=options) for model in models
    ]
    pool = bench_pool(registry, definitions, [test.users for test in users])
    return Bench(pool, tests, users=users, repeat=repeat)


async def measured(made):
    try:
        await asyncio.wait_for(made.measure(), 60)
    finally:
        await made.close()
    return bench_json(made)


async def stopped_at_the_fourth_prompt(made):
    async def stop():
        while len(ScriptedEngine.log) < 4:
            await asyncio.sleep(0.01)
        await made.stop()

    stopping = asyncio.create_task(stop())
    found = await measured(made)
    await stopping
    return found


@pytest.fixture
def too_large(monkeypatch):
    """The engines do not fit in memory together."""

    async def decide(engines):
        return ScheduleDecision(mode="swap", reason="Together they are too large.")

    monkeypatch.setattr(measure, "decide", decide)


# ── The plan ──


def test_two_engines_alternate_as_abba_after_one_warm_up_each():
    steps = list(steps_of(2, [TEST], 4, swap=False))
    assert [(step.engine, step.test is None) for step in steps[:2]] == [(0, True), (1, True)]
    assert [step.engine for step in steps[2:]] == [0, 1, 1, 0, 0, 1, 1, 0]


def test_with_swap_each_opening_has_a_warm_up_and_all_tests():
    other = BenchTest(prompt_tokens=20, depth=0, tokens=5)
    steps = list(steps_of(2, [TEST, other], 2, swap=True))
    assert [(step.engine, step.test) for step in steps] == [
        (0, None), (0, TEST), (0, other), (1, None), (1, TEST), (1, other),
        (1, TEST), (1, other), (0, None), (0, TEST), (0, other),
    ]  # fmt: skip


def test_tests_combine_all_lengths_and_depths_up_to_a_limit():
    found = bench_tests([8, 16, 8], [0, 32], 4, 1)
    assert [(it.prompt_tokens, it.depth) for it in found] == [(8, 0), (16, 0), (8, 32), (16, 32)]
    found = users_tests([8, 9], [1, 4, 1], 4, 2)
    assert [(it.users, it.prompt_tokens) for it in found] == [(1, 8), (4, 8), (1, 9), (4, 9)]
    assert len(bench_tests(range(1, 101), [0], 1, 100)) == 100
    with pytest.raises(InputError, match=r"^The bench would have 40,000,000 runs of each engine\."):
        bench_tests(range(1, 201), range(200), 1, 1000)
    with pytest.raises(InputError, match=r"^The users would send 15,360 requests to each engine\."):
        users_tests([8], [256], 4, 59)


# ── Figures ──


async def test_figures_agree_with_scripted_times():
    found = await measured(bench("steady"))
    (test,) = found["engines"][0]["tests"]
    assert (test["repetitions"], test["notes"], found["partial"]) == (2, [], False)
    exact = {
        "ttft_s": 0.5,
        "ttfo_s": 0.75,  # after one thinking token
        "prefill_tps": 12 / 0.5,
        "decode_tps": 4 / 0.625,
        "tpot_ms": 1000 * (0.625 + 0.0625) / 4,
        "itl_p50_ms": 125.0,
        "itl_p95_ms": 125.0 + 125.0 * 0.85,  # of 125, 125, 125, 250
        "itl_p99_ms": 125.0 + 125.0 * 0.97,
    }
    for name, value in exact.items():
        assert test[name] == {"mean": pytest.approx(value), "stdev": 0.0}, name


async def test_prompts_have_the_requested_length_and_depth():
    tests = bench_tests([10, 33], [0, 21], 3, 1)
    found = await measured(bench("steady", tests=tests, repeat=2))
    for test in found["engines"][0]["tests"]:
        for usage in test["usage"]:
            assert usage["cached_tokens"] == test["depth"]
            assert usage["prompt_tokens"] == test["depth"] + test["prompt_tokens"]
    cold = {length for _, length, cold in ScriptedEngine.log if cold}
    assert cold == {10, 33}


async def test_engines_that_do_not_fit_together_are_opened_in_turn(too_large):
    made = bench("steady", "brief")
    found = await measured(made)
    assert (found["schedule"], made.reason) == ("swap", "Together they are too large.")
    assert [engine["tests"][0]["repetitions"] for engine in found["engines"]] == [2, 2]
    order = [model for model, *_ in ScriptedEngine.log]
    assert order == ["steady", "steady", "brief", "brief", "brief", "steady", "steady"], (
        "with a warm-up for each opening"
    )
    found = await measured(bench("steady", "brief", users=users_tests([12], [1, 2], 5, 1)))
    assert [[level["answers"] for level in engine["users"]] for engine in found["engines"]] == [[2, 4]] * 2


@pytest.mark.parametrize(
    ("model", "depth", "note"),
    [
        ("brief", 0, "Answers ended early: the shortest has 3 of 5 tokens."),
        ("pieces", 0, "The engine sends several tokens in a piece: ITL is the time between pieces."),
        ("unkept", 8, "0 tokens of the prompt came from the cache; the depth is 8."),
        ("uneven", 0, "The decode rate varies by 33%: the machine was busy or changed its speed."),
    ],
)
async def test_notes_explain_unreliable_figures(model, depth, note):
    test = BenchTest(prompt_tokens=12, depth=depth, tokens=5)
    found = await measured(bench(model, tests=[test]))
    (shown,) = found["engines"][0]["tests"]
    assert (shown["notes"], shown["in_pieces"]) == ([note], model == "pieces")
    latencies = next(iter(bench_sections(found))).tables[1]
    assert latencies.lines[0].cells[-1].text.endswith(" (pieces)") is shown["in_pieces"]


async def test_the_token_count_of_an_engine_without_a_tokenizer_is_reported():
    test = BenchTest(prompt_tokens=100, depth=0, tokens=5)
    found = await measured(bench("mute", tests=[test]))
    (measured_test,) = found["engines"][0]["tests"]
    (counted,) = {usage["prompt_tokens"] for usage in measured_test["usage"]}
    assert abs(counted - 100) <= 3, "the guess was corrected by the warm-up"


async def test_a_crash_keeps_the_results_and_the_other_engine_continues():
    tests = bench_tests([12, 24], [0], 5, 2)
    found = await measured(bench("crashing", "steady", tests=tests, users=[PAIR]))
    crashing, steady = found["engines"]
    assert crashing["error"].startswith("The engine's process was ended by a test.")
    assert [test["repetitions"] for test in crashing["tests"]] == [2, 0]
    assert [test["repetitions"] for test in steady["tests"]] == [2, 2]
    assert [level["answers"] for level in crashing["users"]] == [0]
    assert [level["answers"] for level in steady["users"]] == [4]
    assert found["partial"] is True


# ── Concurrent users ──

PAIR = BenchTest(prompt_tokens=12, depth=0, tokens=5, users=2)


@pytest.fixture
def ticks(monkeypatch):
    """A clock that is a second later whenever an answer ends."""
    fixed = types.SimpleNamespace(monotonic=itertools.count(1000).__next__)
    monkeypatch.setattr(measure, "time", fixed)


async def test_the_throughput_counts_answers_that_ended_in_the_measured_time(ticks):
    made = bench("steady", users=[PAIR], repeat=3)
    found = await measured(made)
    (level,) = found["engines"][0]["users"]
    assert (level["users"], level["answers"], level["skipped"], level["notes"]) == (2, 6, None, [])
    assert (level["seconds"], level["tokens_per_s"]) == (6, 5.0), "an answer of 5 tokens each second"
    tpot_ms = 1000 * (0.625 + 0.0625) / 4
    assert level["tokens_per_s_stdev"] == 0, "each round takes two seconds"
    assert level["user_tps"] == {"mean": pytest.approx(1000 / tpot_ms), "stdev": 0.0}
    assert level["ttft_s"] == dict.fromkeys(("mean", "p50", "p95", "p99"), 0.5)
    assert level["tpot_ms"]["p99"] == pytest.approx(tpot_ms)
    assert level["itl_ms"] == {"mean": 156.25, "p50": 125.0, "p95": 250.0, "p99": 250.0}, "of all answers"
    assert (found["schedule"], found["partial"]) == ("sequential", False)


async def test_engines_that_share_a_model_get_a_slot_for_each_user():
    given, own = (
        bench("steady", users=[PAIR], **options).engines[0].engine for options in ({"slots": 7}, {})
    )
    one = bench("steady").engines[0].engine
    assert [engine.placement.most_at_once for engine in (given, own, one)] == [7, 2, 1]


async def test_users_beyond_an_engines_slots_are_skipped_with_the_reason():
    made = bench("steady", users=users_tests([12], [1, 2], 5, 1), slots=1)
    found = await measured(made)
    (engine,) = found["engines"]
    assert [level["answers"] for level in engine["users"]] == [2, 0]
    assert engine["users"][1]["skipped"] == (
        "steady answers one prompt at a time, so 2 concurrent users cannot be measured."
    )
    assert (engine["tests"][0]["repetitions"], found["partial"]) == (2, False)


async def test_a_stop_ends_all_users():
    found = await stopped_at_the_fourth_prompt(bench("slow", tests=(), users=[PAIR], repeat=1))
    assert (found["engines"][0]["users"][0]["answers"], found["engines"][0]["error"]) == (0, None)
    assert found["partial"] is True
