"""Names of lanes in little room: what distinguishes them stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from paragone_tui.terminal.short_names import shortened, shortest

Q4, Q3 = "SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct.Q3_K_M"


@pytest.mark.parametrize(
    ("name", "others", "cells", "wanted"),
    [
        (Q4, [Q3], 26, Q4),
        (Q4, [Q3], 12, "SmolLM2…Q4_1"),
        (Q3, [Q4], 6, "Q3_K_M"),
        (Q3, [Q4], 4, "Q3_…"),
        (f"{Q4}-2", [Q4], 14, "SmolLM2…Q4_1-2"),
        ("Q4_1-SmolLM2-Instruct", ["Q5_1-SmolLM2-Instruct"], 12, "Q4_1-SmolLM…"),
        ("small.Q4_1 (ollama)", ["small.Q5_1 (ollama)"], 14, "small.Q4_1…"),
        (Q4, [], 12, "SmolLM2-135…"),
        ("今天天气-一", ["今天天气-二"], 7, "今天…一"),
    ],
)
def test_what_distinguishes_a_name_stays(name, others, cells, wanted):
    assert shortened(name, others, cells) == wanted


names = st.text("ab1-._ 今", max_size=20)


@given(names, st.lists(names, max_size=3), st.integers(0, 30))
def test_it_fits(name, others, cells):
    assert cell_len(shortened(name, others, cells)) <= cells
    assert shortened(name, others, cell_len(name)) == name
    assert 0 <= shortest(name, others) <= cell_len(name)


@given(st.text("ab", min_size=1, max_size=12), st.sampled_from("-."), st.integers(6, 20))
def test_two_quantizations_are_never_shown_alike(common, separator, cells):
    first, second = f"{common}{separator}Q4_1", f"{common}{separator}Q5_0"
    assert shortened(first, [second], cells).endswith("Q4_1")
    assert shortened(second, [first], cells).endswith("Q5_0")
