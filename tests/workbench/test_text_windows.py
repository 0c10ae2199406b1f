"""Windows of a text: what is computed, what is scored, and what is too short."""

import pytest

from paragone import InputError
from paragone_workbench.measure.fidelity import Windows


def test_the_second_half_of_each_window_is_scored():
    windows = Windows(range(100, 1200), 512, bos=None, owner="m")
    assert (len(windows), windows.positions, windows.tokens) == (2, 255, 1100)
    second = windows[1]
    # tokens 512 … 1023 of the text; the last one is a target only, and the rest of the text is dropped
    assert second.ids == tuple(range(612, 1123))
    assert second.start == 256
    assert second.targets.tolist() == list(range(100 + 512 + 257, 100 + 1024))
    assert [second.ids[second.start] + 1, second.ids[-1] + 1] == [second.targets[0], second.targets[-1]]


def test_bos_replaces_the_first_token_of_each_window():
    windows = Windows((7, *range(20, 60)), 16, bos=7, owner="m")
    assert windows[0].ids[:3] == (7, 20, 21)
    assert windows[1].ids[:3] == (7, 36, 37)  # instead of 35
    assert windows[1].targets.tolist() == list(range(44, 51))
    assert windows.tokens == 40


def test_an_odd_window_scores_the_positions_from_its_half_on():
    windows = Windows(range(100), 9, bos=None, owner="m")
    assert (len(windows), windows.positions) == (11, 4)
    assert windows[0].start == 4
    assert windows[0].targets.tolist() == [5, 6, 7, 8]


def test_two_windows_are_needed():
    assert len(Windows(range(32), 16, bos=None, owner="m")) == 2
    with pytest.raises(InputError, match=r"it has 31 tokens for m, and two windows of 16 need 32\."):
        Windows(range(31), 16, bos=None, owner="m")


def test_a_window_has_a_smallest_size():
    with pytest.raises(InputError, match="A window of 7 tokens is too small"):
        Windows(range(100), 7, bos=None, owner="m")
