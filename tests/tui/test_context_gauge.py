"""The gauge above the prompt."""

import pytest

from paragone_tui.screens.lanes.prompt.context_gauge import _content
from paragone_workbench.lanes.forecast import Forecast


def forecast(lane, tokens, context=1000, **more):
    return Forecast(lane=lane, tokens=tokens, context=context, **{"left_out": 0, **more})


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], ""),
        ([forecast("a", 500)], "500 of 1,000 tokens ███░░░"),
        ([forecast("a", 500, added=47)], "47 more, 500 of 1,000 tokens ███░░░"),
        (
            [forecast("a", 500, added=47), forecast("b", 400, added=47)],
            "47 more, a 500 of 1,000, b 400 of 1,000 tokens ███░░░",
        ),
        ([forecast("a", 500), forecast("b", 500)], "500 of 1,000 tokens ███░░░"),
        (
            [forecast("a", 500), forecast("b", 600), forecast("c", 400)],
            "fullest: b 600 of 1,000 tokens ███▋░░",
        ),
        ([forecast("a", 500), forecast("b", 400)], "a 500 of 1,000, b 400 of 1,000 tokens ███░░░"),
        (
            [forecast("a", 500, left_out=2), forecast("b", 2000)],
            "a will leave out the oldest 2 messages · b will refuse: 2,000 tokens, its context holds 1,000 · "
            "a 500 of 1,000 tokens ██████",
        ),
    ],
)
def test_what_it_shows(found, text):
    assert _content(found).plain == text
