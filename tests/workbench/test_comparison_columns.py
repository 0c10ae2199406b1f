"""Columns of numbers give the same as objects for each run."""

import functools
import operator

from hypothesis import given
from hypothesis import strategies as st

from paragone_workbench.experiments.comparison_rows import PromptMeans, RunColumns

PROMPTS = st.integers(0, 5)
RUNS = st.lists(
    st.tuples(
        PROMPTS,
        st.integers(0, 2),
        st.sampled_from(["yes", "no", ""]),
        st.one_of(st.none(), st.floats(0, 9)),
        st.one_of(st.none(), st.floats(1, 99)),
    ),
    max_size=8,
)


def columns(runs):
    made = RunColumns()
    for prompt, repetition, text, started, rate in runs:
        made.add(prompt, repetition, text, started=started, rate=rate)
    return made


@given(st.lists(st.tuples(PROMPTS, st.floats(-1e6, 1e6)), max_size=8))
def test_means_are_those_of_the_prompts_that_have_a_value(values):
    made = PromptMeans()
    by_prompt: dict[int, list] = {}
    for prompt, value in values:
        made.add(prompt, value)
        by_prompt.setdefault(prompt, []).append(value)
    prompts, means = made.means()
    assert prompts.tolist() == sorted(by_prompt)
    # `sum` adds floats more exactly from Python 3.12 on.
    added = {prompt: functools.reduce(operator.add, found) for prompt, found in by_prompt.items()}
    assert means.tolist() == [added[prompt] / len(by_prompt[prompt]) for prompt in sorted(added)]


@given(RUNS, RUNS)
def test_answers_are_equal_where_the_last_texts_of_both_are(ours, others):
    texts = [{run[:2]: run[2] for run in runs} for runs in (ours, others)]
    by_prompt: dict[int, list] = {}
    for key in texts[0].keys() & texts[1].keys():
        by_prompt.setdefault(key[0], []).append(texts[0][key] == texts[1][key])
    expected = [sum(by_prompt[prompt]) / len(by_prompt[prompt]) for prompt in sorted(by_prompt)]
    assert columns(ours).same_shares(columns(others)).tolist() == expected


@given(RUNS, RUNS)
def test_starts_are_those_of_the_runs_that_both_have(ours, others):
    starts = [{run[:2]: run[3] for run in runs} for runs in (ours, others)]
    common = [
        key
        for key in sorted(starts[0].keys() & starts[1].keys())
        if None not in (starts[0][key], starts[1][key])
    ]
    mine, its = columns(ours).common_starts(columns(others))
    assert mine.tolist() == [starts[0][key] for key in common]
    assert its.tolist() == [starts[1][key] for key in common]
