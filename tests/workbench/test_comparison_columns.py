"""Columns of numbers give the same as objects for each run."""

from hypothesis import given
from hypothesis import strategies as st

from paragone_workbench.experiments.comparison_rows import RunColumns

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


@given(RUNS, RUNS)
def test_answers_are_equal_where_the_last_texts_of_both_are(ours, others):
    texts = [{run[:2]: run[2] for run in runs} for runs in (ours, others)]
    by_prompt: dict[int, list] = {}
    for key in texts[0].keys() & texts[1].keys():
        by_prompt.setdefault(key[0], []).append(texts[0][key] == texts[1][key])
    expected = [sum(by_prompt[prompt]) / len(by_prompt[prompt]) for prompt in sorted(by_prompt)]
    assert columns(ours).same_shares(columns(others)).tolist() == expected
