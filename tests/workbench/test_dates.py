"""Dates that damaged records have: they are shown as unknown, and raise nothing."""

import math
import time

import pytest

from paragone_cli.command_line.formats import date
from paragone_tui.screens.history import time_text
from paragone_workbench.blocks import date_text

NONE = [1e20, -1e20, 1e300, -1e300, math.inf, math.nan, -1.0, 10**400, 253_402_300_800, "abc", b"x", None]


@pytest.mark.parametrize("shown", [date, time_text, date_text])
def test_an_invalid_date_is_shown_as_a_question_mark(shown):
    assert {repr(moment)[:12]: shown(moment) for moment in NONE if shown(moment) != "?"} == {}


def test_the_first_and_the_last_date_are_shown():
    assert date(0).startswith(("1970-01-01", "1969-12-31"))
    assert date(253_402_214_399).startswith("9999-12-3")
    assert date_text(0.0) == time.strftime("%Y-%m-%d %H:%M %z", time.localtime(0))
