"""The comparison of engines over a suite: pairing, excluded runs, families of tests, and messages."""

import json
import random

import fastjsonschema
import pytest
from bench.simulate.suites import answered
from tests.docs.existing import ROOT

from paragone_cli.command_line.output import put_sections
from paragone_workbench.experiments.comparison import (
    MetricComparison,
    compare_suite,
    non_inferiority,
    prompts_for,
)
from paragone_workbench.experiments.comparison_rows import PASS_RATE, SPEEDS, collect
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.statistics import Interval, PairedDifference, paired_share_interval

TTFT = SPEEDS[1]


def row(prompt, engine, passed=None, repetition=0, **values):
    """A run of engines that take turns, unless `started` says otherwise."""
    values.setdefault("started", 100 * prompt + 10 * repetition + ord(engine[0]) % 10)
    return answered(prompt, engine, passed, repetition, **values)


def compare_rows(rows, engines):
    return compare_suite(collect(rows, engines))


def result(metric=PASS_RATE, *, difference=0.06, low=0.012, high=0.109, p=0.03, comparisons=3, prompts=150):
    paired = PairedDifference(
        prompts=prompts,
        mean_a=0.5,
        mean_b=0.5 + difference,
        more_a=5,
        more_b=14,
        interval=None if low is None else Interval(low=low, high=high),
        method="none" if low is None else "bonett_price",
        p=0.01,
        test="mcnemar",
    )
    return MetricComparison(a="A", b="B", metric=metric, paired=paired, adjusted_p=p, comparisons=comparisons)


def test_a_difference_is_stated_in_plain_words():
    assert result().sentence == (
        "B passes 6.0 points more often than A (95% interval 1.2 to 10.9; 14 prompts only B, 5 only A; p = 0.03 "
        "after Holm's correction for 3 comparisons)."
    )


@pytest.mark.parametrize(
    ("unsure", "why"),
    [
        (result(low=-0.001, p=0.3), ", which may be chance ("),
        (result(low=-0.001), "; the test and the interval disagree, so no difference is claimed ("),
    ],
)
def test_no_difference_is_claimed_without_evidence(unsure, why):
    assert not unsure.shown
    assert unsure.sentence.startswith("In ")
    assert ", B − A = " in unsure.sentence
    assert why in unsure.sentence


def test_repetitions_are_averaged_before_comparison():
    """Twice the repetitions are no more prompts: the p-value stays the same."""
    rng = random.Random(3)
    once = [row(prompt, engine, passed=rng.random() < 0.5) for prompt in range(40) for engine in "AB"]
    twice = [*once, *(row(run.key.prompt_index, engine, run.passed, repetition=1) for engine, run, _ in once)]
    (one,), (two,) = compare_rows(once, "AB").comparisons, compare_rows(twice, "AB").comparisons
    assert (one.paired.p, one.paired.difference) == (two.paired.p, two.paired.difference)
    assert (one.paired.test, two.paired.test) == ("mcnemar", "sign")
    assert "only B" in one.sentence
    assert "more often B" in two.sentence


def test_failed_runs_are_excluded_pairwise_and_counted():
    rows = [row(prompt, engine, passed=True, text="x") for prompt in range(12) for engine in "AB"]
    rows += [row(12, "A", passed=True), row(12, "B", passed=False, state="failed")]
    found = compare_rows(rows, "AB")
    assert found.comparisons[0].paired.prompts == 12
    assert (found.engines[0].failed, found.engines[1].failed) == (0, 1)
    assert found.engines[1].averages[PASS_RATE] == (1.0, 12)
    assert found.same[0].prompts == 12
    assert found.notes == ("B: 1 of 13 runs failed. Failed runs do not count in any figure.",)


def test_times_of_shared_runs_do_not_count():
    def metrics(shared):
        return RunMetrics(ttft_s=0.1, decode_tps=10, completion_tokens=11, shared=shared)

    rows = [row(0, "A", metrics=metrics(True)), row(0, "B", metrics=metrics(False))]
    found = compare_rows(rows, "AB")
    assert [it.metric.name for it in found.comparisons] == ["completion_tokens"]
    assert {it.name: mean for it, (mean, _) in found.engines[1].averages.items()} == {
        "completion_tokens": 11,
        "ttft_s": 0.1,
        "decode_tps": 10,
        "total_s": pytest.approx(1.1),
    }
    assert "shared this machine" in found.notes[0]


def judged(prompt, engine, *, passes, undecided):
    """A run with an assertion and a judge, who gave no verdict if it is undecided."""
    return row(prompt, engine, None if undecided else passes, undecided=undecided, scores={"other": passes})


def claims(found):
    return [it for it in found.comparisons if it.shown]


def test_an_undecided_prompt_counts_for_no_engine_and_is_noted(capsys):
    rows = [judged(prompt, engine, passes=True, undecided=False) for prompt in range(20) for engine in "ABC"]
    rows += [
        judged(prompt, engine, passes=False, undecided=engine != "A")
        for prompt in (20, 21)
        for engine in "ABC"
    ]
    rows += [judged(22, engine, passes=False, undecided=engine == "B") for engine in "ABC"]
    rows += [row(23, engine, True, unjudged=engine == "B") for engine in "ABC"]
    found = compare_rows(rows, "ABC")
    assert {it.paired.prompts for it in found.comparisons} == {20}
    assert [it.averages[PASS_RATE] for it in found.engines] == [(1.0, 20)] * 3
    assert [len(it.undecided) for it in found.engines] == [0, 3, 2]
    message = (
        "3 prompts are not counted in any pass rate or score, for every engine: an assertion gave no verdict about an "
        "answer (B: 3, C: 2)."
    )
    put_sections(found.sections())
    assert found.notes == (
        message,
        "1 prompt is not counted in any pass rate or score: their judges have not been asked yet (B: 1). Repeat the "
        "command that ran the suite to ask them.",
    )
    assert message in capsys.readouterr().out
    assert found.to_json()["undecided"] == 3


def test_times_are_compared_only_if_the_runs_alternated():
    def metrics(engine):
        return RunMetrics(ttft_s=0.1 if engine == "A" else 0.2, decode_tps=10, completion_tokens=11)

    def compared(started):
        rows = [
            row(prompt, engine, metrics=metrics(engine), started=started(prompt, engine))
            for prompt in range(20)
            for engine in "AB"
        ]
        return compare_rows(rows, "AB")

    found = compared(lambda prompt, engine: prompt + 1000 * (engine == "B"))
    assert [it.metric.name for it in found.comparisons] == ["completion_tokens"]
    assert found.engines[1].averages[TTFT] == (pytest.approx(0.2), 20)
    (note,) = found.notes
    assert note.startswith("Times are not compared between A and B: their runs did not alternate")
    # each prompt begins with another engine
    found = compared(lambda prompt, engine: 2 * prompt + ((engine == "B") ^ (prompt % 2)))
    assert [it.metric.name for it in claims(found)] == ["ttft_s", "total_s"]
    assert found.notes == ()


def test_all_comparisons_are_corrected_together_in_the_table_and_in_json(capsys):
    """Two families at 5% each would claim something in up to 10% of the suites in which no engines differ."""
    rng = random.Random(6)
    engines = ("A", "B\x1b[2J", "C")
    rows = [
        row(
            prompt,
            engine,
            passed=rng.random() < 0.5,
            scores={"judge": rng.random(), "length": 1.0},
            metrics=RunMetrics(ttft_s=rng.random(), decode_tps=rng.random() + 1, completion_tokens=9),
            text=rng.choice("xy"),
        )
        for prompt in range(20)
        for engine in engines
    ]
    found = compare_rows(rows, engines)
    assert {it.comparisons for it in found.comparisons} == {21}
    smallest = min(found.comparisons, key=lambda it: it.paired.p)
    assert smallest.adjusted_p == pytest.approx(min(1, 21 * smallest.paired.p))
    put_sections(found.sections())
    out = capsys.readouterr().out
    assert out.startswith("engine  ")
    titles = " ".join(out.splitlines()[0].split())
    assert titles.endswith("tokens TTFT (ms) tokens/s total (s)")
    assert " ± " in out.splitlines()[1], "times have their spread"
    assert "\x1b" not in out
    schema = json.loads((ROOT / "docs" / "command-line.schema.json").read_text())["$defs"]
    fastjsonschema.compile({"$ref": "#/$defs/suite%20compare", "$defs": schema})(found.to_json())


def test_each_of_eleven_engines_is_compared_with_the_reference_unless_all_pairs_are_asked_for():
    """All pairs by seven metrics are 385 comparisons, which multiply the smallest p-value by as much."""
    rng, engines = random.Random(2), "ABCDEFGHIJK"
    rows = [
        row(
            prompt,
            engine,
            passed=rng.random() < 0.5,
            scores={f"judge {n}": rng.random() + 0.45 * (engine == "K") for n in range(6)},
            text="x" * (engine in "BC"),
        )
        for prompt in range(20)
        for engine in engines
    ]
    found, every = compare_suite(collect(rows, engines), reference="B"), compare_rows(rows, engines)
    assert {(it.a, it.comparisons) for it in found.comparisons} == {("B", 70)}
    assert {it.b for it in claims(found)} == {"K"}
    assert len(claims(found)) > 3
    assert {it.comparisons for it in every.comparisons} == {385}
    assert [(it.b, it.share) for it in found.same if it.share] == [("C", 1)]
    assert len(found.not_worse) == 10
    assert {it.comparisons for it in found.not_worse} == {10}
    assert "Each engine is compared with B." in found.notes[0]


@pytest.mark.parametrize(("trend", "drift"), [(0.01, pytest.approx(-0.27, abs=0.06)), (0, None)])
def test_speeds_that_drift_are_marked(trend, drift):
    rng = random.Random(1)
    rates = [
        (prompt, engine, rng.gauss(50, 2) * (1 - prompt * trend)) for prompt in range(40) for engine in "AB"
    ]
    found = compare_rows(
        [
            row(prompt, engine, metrics=RunMetrics(decode_tps=rate, completion_tokens=9))
            for prompt, engine, rate in rates
        ],
        "AB",
    )
    assert [it.to_json()["drift"] for it in found.engines] == [drift] * 2
    assert ["the decode rate fell by " in note for note in found.notes] == ([True] * 2 if trend else [])


# Non-inferiority: the verdicts, how often they are right, and the prompts still needed


def verdicts(low, high, margin=0.03, prompts=400):
    pair = result(difference=(low + high) / 2, low=low, high=high, prompts=prompts)
    return non_inferiority([pair], margin, both_ways=True)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.018, 0.010, ("not worse", "not worse")),
        (-0.05, 0.01, ("open", "not worse")),
        (-0.09, -0.04, ("worse", "not worse")),
        (-0.03, 0.0, ("open", "not worse")),
    ],
)
def test_the_verdict_is_read_from_the_interval(low, high, expected):
    assert tuple(found.verdict for found in verdicts(low, high)) == expected


def test_the_verdicts_are_stated_in_plain_words():
    not_worse, _ = verdicts(-0.018, 0.010)
    worse, _ = verdicts(-0.09, -0.04)
    still_open, _ = verdicts(-0.05, 0.03, margin=0.05)
    hopeless, _ = verdicts(-0.13, 0.07)
    assert (not_worse.sentence, worse.sentence, still_open.sentence) == (
        "B is not worse than A by more than 3.0 points: at worst, B passes 1.8 points less often.",
        "B is worse than A by more than 3.0 points.",
        "Whether B is worse than A by more than 5.0 points is open. About 260 to 620 more prompts would settle this.",
    )
    assert hopeless.sentence.endswith("is open, and more prompts hardly settle this.")


def test_with_several_comparisons_and_before_all_prompts_are_answered_the_interval_is_wider():
    (alone, _) = verdicts(-0.02, 0.0, prompts=100)
    several = alone.as_one_of(5, 100)
    early = alone.as_one_of(1, 400)
    assert several.interval.low == pytest.approx(-0.01 - 0.01 * 2.5758 / 1.96, abs=1e-5)
    assert early.interval.low == pytest.approx(-0.01 - 0.01 * 2.2414 * 2 / 1.96, abs=1e-5)
    assert (alone.verdict, several.verdict, early.verdict) == ("not worse", "not worse", "open")
    assert (several.is_early, early.is_early) == (False, True)
    names = [it.interval_name for it in (alone, several, early)]
    assert names == ["95% interval", "95% interval of all 5 comparisons together", "interval for early looks"]
    needed = [it.prompts_needed for it in (alone, early, several)]
    assert needed[0] == needed[1] < needed[2]


@pytest.mark.parametrize(("margin", "comparisons"), [(0.03, 1), (0.1, 5)])
def test_the_fewest_prompts_for_a_margin_are_those_with_which_equal_engines_are_not_worse(
    comparisons, margin
):
    fewest = prompts_for(margin, comparisons)
    verdict = []
    for count in (fewest - 1, fewest):
        interval = paired_share_interval(0, 0, count)
        (one, _) = verdicts(interval.low, interval.high, margin, prompts=count)
        verdict.append(one.as_one_of(comparisons, count).verdict)
    assert verdict == ["open", "not worse"]
