"""The comparison of engines over a suite: pairing, what is left out, families, and the sentences."""

import json
import math
import random

import fastjsonschema
import pytest
from bench.simulate.suites import false_claims
from tests.docs.existing import ROOT

from paragone_cli.suite_results import put_comparison
from paragone_workbench.experiments.comparison import MetricComparison, compare_suite, comparison_json
from paragone_workbench.experiments.comparison_rows import PASS_RATE, SPEEDS, SuiteRow, collect
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.statistics import Interval, PairedDifference

TTFT = SPEEDS[1]


def row(prompt, engine, passed=None, repetition=0, **values):
    """A run of engines that take turns, unless `started` says otherwise."""
    values.setdefault("started", 100 * prompt + 10 * repetition + ord(engine[0]) % 10)
    return SuiteRow(prompt_index=prompt, repetition=repetition, engine=engine, passed=passed, **values)


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


def test_a_difference_in_plain_words():
    assert result().sentence == (
        "B passes 6.0 points more often than A (95% interval 1.2 to 10.9; 14 prompts only B, 5 only A; p = 0.03 "
        "after Holm's correction for 3 comparisons)."
    )


@pytest.mark.parametrize(
    ("unsure", "why"),
    [
        (result(low=-0.001, p=0.3), ", which may be chance ("),
        (result(low=None, p=None, prompts=9), ", which may be chance ("),
        (result(low=-0.001), "; the test and the interval disagree, so no difference is claimed ("),
        (result(p=0.05), "; the test and the interval disagree, so no difference is claimed ("),
        (
            result(TTFT, low=-1, p=0.001),
            "; the test and the interval disagree, so no difference is claimed (",
        ),
    ],
)
def test_no_difference_is_claimed_that_is_not_shown(unsure, why):
    assert not unsure.shown
    assert unsure.sentence.startswith("In ")
    assert ", B − A = " in unsure.sentence
    assert why in unsure.sentence


def test_repetitions_are_averaged_before_they_are_compare_rows():
    """Twice the repetitions are no more prompts: the p-value stays the same."""
    rng = random.Random(3)
    once = [row(prompt, engine, passed=rng.random() < 0.5) for prompt in range(40) for engine in "AB"]
    twice = [*once, *(row(it.prompt_index, it.engine, it.passed, repetition=1) for it in once)]
    (one,), (two,) = compare_rows(once, "AB").comparisons, compare_rows(twice, "AB").comparisons
    assert (one.paired.p, one.paired.difference) == (two.paired.p, two.paired.difference)
    assert (one.paired.test, two.paired.test) == ("mcnemar", "sign")
    assert "only B" in one.sentence
    assert "more often B" in two.sentence


def test_failed_runs_are_left_out_pairwise_and_counted():
    rows = [row(prompt, engine, passed=True, text="x") for prompt in range(12) for engine in "AB"]
    rows += [row(12, "A", passed=True), row(12, "B", passed=False, failed=True)]
    found = compare_rows(rows, "AB")
    assert found.comparisons[0].paired.prompts == 12
    assert (found.engines[0].failed, found.engines[1].failed) == (0, 1)
    assert found.engines[1].means[PASS_RATE] == (1.0, 12)
    assert found.same[0].prompts == 12
    assert found.notes == ("B: 1 of 13 runs failed. Failed runs are left out of all figures.",)


def test_times_of_shared_runs_are_left_out():
    def metrics(shared):
        return RunMetrics(ttft_s=0.1, decode_tps=10, completion_tokens=11, shared=shared)

    rows = [row(0, "A", metrics=metrics(True)), row(0, "B", metrics=metrics(False))]
    found = compare_rows(rows, "AB")
    assert [it.metric.name for it in found.comparisons] == ["completion_tokens"]
    assert {it.name: mean for it, (mean, _) in found.engines[1].means.items()} == {
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


def test_an_undecided_prompt_is_left_out_for_every_engine_and_told(capsys):
    rows = [judged(prompt, engine, passes=True, undecided=False) for prompt in range(20) for engine in "ABC"]
    rows += [
        judged(prompt, engine, passes=False, undecided=engine != "A")
        for prompt in (20, 21)
        for engine in "ABC"
    ]
    rows += [judged(22, engine, passes=False, undecided=engine == "B") for engine in "ABC"]
    found = compare_rows(rows, "ABC")
    assert {it.paired.prompts for it in found.comparisons} == {20}
    assert [it.means[PASS_RATE] for it in found.engines] == [(1.0, 20)] * 3
    assert [it.undecided for it in found.engines] == [0, 3, 2]
    sentence = (
        "3 prompts are left out of all pass rates and scores, for every engine: an assertion gave no verdict about an "
        "answer (B: 3, C: 2)."
    )
    put_comparison(found)
    assert found.notes == (sentence,)
    assert sentence in capsys.readouterr().out
    assert comparison_json(found)["undecided"] == 3


def test_prompts_whose_judges_have_not_been_asked_are_told_apart_from_undecided_ones():
    rows = [row(prompt, engine, True) for prompt in range(12) for engine in "AB"]
    rows += [row(12, engine, True, unjudged=engine == "B") for engine in "AB"]
    found = compare_rows(rows, "AB")
    assert (found.undecided, found.unjudged) == (0, 1)
    assert [it.means[PASS_RATE] for it in found.engines] == [(1.0, 12)] * 2
    assert found.notes == (
        "1 prompt is left out of all pass rates and scores: their judges have not been asked yet (B: 1). Repeat "
        "the command that ran the suite to ask them.",
    )


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
    assert found.engines[1].means[TTFT] == (pytest.approx(0.2), 20)
    (note,) = found.notes
    assert note.startswith("Times are not compared between A and B: their runs did not alternate")
    # each prompt begins with another engine
    found = compared(lambda prompt, engine: 2 * prompt + ((engine == "B") ^ (prompt % 2)))
    assert [it.metric.name for it in claims(found)] == ["ttft_s", "total_s"]
    assert found.notes == ()


@pytest.mark.slow
def test_a_machine_that_drifts_is_no_difference_between_engines():
    """The same engine under two names, on a machine whose speed wanders by some percent within minutes."""
    false = 0
    for seed in range(40):
        rng = random.Random(seed)
        speed, speeds = 0.0, []
        for _ in range(80):
            speed += rng.gauss(0, 0.02)
            speeds.append(50 * math.exp(speed + rng.gauss(0, 0.02)))
        rows = []
        for prompt in range(40):
            for place, engine in enumerate("AB" if prompt % 2 else "BA"):
                moment = 2 * prompt + place
                metrics = RunMetrics(
                    ttft_s=5 / speeds[moment], decode_tps=speeds[moment], completion_tokens=9
                )
                rows.append(row(prompt, engine, metrics=metrics, started=float(moment)))
        false += bool(claims(compare_rows(rows, "AB")))
    assert false <= 5


def test_all_comparisons_are_corrected_together():
    """Two families at 5% each would claim something in up to 10% of the suites in which no engines differ."""
    rng = random.Random(6)
    rows = [
        row(
            prompt,
            engine,
            passed=rng.random() < 0.5,
            scores={"judge": rng.random(), "length": 1.0},
            metrics=RunMetrics(ttft_s=rng.random(), decode_tps=rng.random() + 1, completion_tokens=9),
        )
        for prompt in range(20)
        for engine in "ABC"
    ]
    found = compare_rows(rows, "ABC").comparisons
    assert {it.comparisons for it in found} == {21}
    smallest = min(found, key=lambda it: it.paired.p)
    assert smallest.adjusted_p == pytest.approx(min(1, 21 * smallest.paired.p))


@pytest.mark.thorough
def test_the_same_engine_under_two_names_is_seldom_told_apart():
    trials = 60
    assert false_claims(2, 10, trials) <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5


def test_the_table_and_the_json(capsys):
    rng = random.Random(7)
    rows = [
        row(
            prompt,
            engine,
            passed=rng.random() < 0.5,
            metrics=RunMetrics(ttft_s=rng.random(), completion_tokens=1),
            text=rng.choice("xy"),
        )
        for prompt in range(20)
        for engine in ("A", "B\x1b[2J")
    ]
    found = compare_rows(rows, ("A", "B\x1b[2J"))
    put_comparison(found)
    out = capsys.readouterr().out
    assert out.startswith("engine  ")
    assert "pass %  tokens  TTFT (ms)  total (s)" in out
    assert "\x1b" not in out
    schema = json.loads((ROOT / "docs" / "command-line.schema.json").read_text())["$defs"]
    fastjsonschema.compile({"$ref": "#/$defs/suite%20compare", "$defs": schema})(comparison_json(found))


def test_speeds_that_drift_are_marked(capsys):
    def compared(trend):
        rng = random.Random(1)
        rows = [
            row(
                prompt,
                engine,
                metrics=RunMetrics(decode_tps=rng.gauss(50, 2) * trend(prompt), completion_tokens=9),
            )
            for prompt in range(40)
            for engine in "AB"
        ]
        return compare_rows(rows, "AB")

    found = compared(lambda prompt: 1 - prompt / 100)
    assert [it.drift for it in found.engines] == [pytest.approx(-0.27, abs=0.06)] * 2
    assert len(found.notes) == 2
    assert "A: the decode rate fell by " in found.notes[0]
    assert found.engines[0].to_json()["drift"] == found.engines[0].drift
    assert [it.drift for it in compared(lambda prompt: 1).engines] == [None, None]
