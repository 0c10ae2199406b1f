from itertools import product
from typing import Any, get_args

import pytest
from emulator import Watched, settle
from rich.cells import cell_len

from paragone_tui.screens.lanes.status import LaneStatus, LaneStatusInfo
from paragone_workbench.lanes.lane import LaneState


@pytest.fixture
async def line():
    widget = LaneStatus()
    async with Watched(widget).run_test(size=(80, 3)) as pilot:
        await settle(pilot)
        yield pilot, widget


async def show(line, **info):
    """Show a status, and return the text on the terminal."""
    pilot, widget = line
    widget.show(LaneStatusInfo(**info))
    await settle(pilot)
    pilot.app.assert_painted_as_by_textual()
    shown = pilot.app.terminal.screen.display[0]
    return shown.rstrip()


async def test_the_status_line_shows_state_and_figures(line):
    writing = {"engine": "smol", "state": "writing"}
    for info, wanted in (
        ({}, "no engine"),
        ({"engine": "x\x1b[2J\ny\u202e", "state": "ready"}, "x␛[2J y␦ ready"),
        ({"engine": "smol", "state": "loading", "loaded": 0.5}, "smol loading 50% ██████░░░░░░"),
        ({"engine": "smol", "state": "loading", "loaded": 7.0}, "smol loading 100% ████████████"),
        (
            {"engine": "smol", "state": "reading", "prompt_done": 1024, "prompt_total": 4096},
            "smol reading the prompt 1,024/4,096 ███░░░░░░░░░",
        ),
        (
            {**writing, "tokens": 1400, "tokens_per_s": 49.64, "ttft_s": 0.123},
            "smol writing 49.6 tok/s TTFT 123 ms 1,400 tokens",
        ),
        (
            {**writing, "tokens_per_s": 241.3, "ttft_s": 2.25, "context_used": 90, "context_size": 100},
            "smol writing 241 tok/s TTFT 2.2 s context 90/100",
        ),
        (
            {**writing, "tokens_per_s": 54, "acceptance": 0.45, "tokens_per_step": 2.5},
            "smol writing 54.0 tok/s 2.5 a step, 45% of drafts",
        ),
        (
            {**writing, "tokens_per_s": 54.0, "shared": True, "tokens": 1},
            "smol writing 54.0 tok/s shared 1 token",
        ),
        (
            {"engine": "smol", "state": "queued", "silent_s": 7, "stop_key": "esc"},
            "smol waiting for the server: no data for 7 s esc stops",
        ),
        (
            {**writing, "silent_s": 12, "stop_key": "esc", "tokens": 2},
            "smol no data from the server for 12 s esc stops 2 tokens",
        ),
        (
            {**writing, "silent_s": 12, "is_local": True, "stop_key": "esc"},
            "smol no data from the engine for 12 s esc stops",
        ),
    ):
        assert " ".join((await show(line, **info)).split()) == wanted


async def test_parts_of_the_status_line_that_do_not_fit_are_dropped(line):
    """And the speed is shown however narrow a lane is: 20 columns with six lanes at 120 columns."""
    pilot, widget = line
    for width in (1, 18, 25, 40, 100):
        await pilot.resize_terminal(width, 3)
        shown = await show(
            line,
            engine="a-rather-long-name-今天",
            state="writing",
            tokens=1400,
            tokens_per_s=49.6,
            ttft_s=0.12,
            context_used=900,
            context_size=8192,
        )
        assert cell_len(widget.render_line(0).text.rstrip()) <= width
        assert shown == widget.render_line(0).text.rstrip()
        if width >= 18:
            assert "writing" in shown or width < 26
            assert "49.6 tok/s" in shown or "50/s" in shown, "the speed is dropped last"
        parts = [("49.6", "tok/s"), ("context", "900/8,192"), ("TTFT", "120 ms"), ("1,400", "tokens")]
        for figure, rest in parts:
            assert (figure in shown) == (rest in shown)
    assert "a-rather-long-name-今天" in shown
    assert "1,400 tokens" in shown
    for width, state, rate in product((20, 26, 40), get_args(LaneState), (4.96, 49.6, 1234.5)):
        if state in ("writing", "done", "stopped"):
            await pilot.resize_terminal(width, 3)
            info = {"state": state, "tokens_per_s": rate, "tokens": 140, "differences": 2, "ttft_s": 0.12}
            names: Any = {
                "engine": "SmolLM2-135M-Q4_K_M",
                "others": ("SmolLM2-135M-Q8_0", "SmolLM2-135M-Q2_K"),
            }
            await show(line, mark="▸ ◆ ", context_used=900, context_size=8192, **names, **info)
            text = widget.render_line(0).text.rstrip()
            assert f"{rate:.1f}/s" in text or f"{rate:.0f}/s" in text or "tok/s" in text
            assert "Q4" in text
            assert cell_len(text) <= width


@pytest.mark.parametrize("state", ["queued", "writing"])
async def test_a_narrow_lane_shows_how_long_a_server_is_silent_and_the_key_that_stops_the_run(line, state):
    pilot, _ = line
    await pilot.resize_terminal(40, 3)
    silent = {"engine": "smol", "state": state, "silent_s": 120, "stop_key": "esc"}
    assert " ".join((await show(line, **silent)).split()) == "smol no data for 120 s esc stops"


async def test_nothing_is_painted_when_nothing_changed(line):
    pilot, _ = line
    info = {"engine": "smol", "state": "writing", "tokens_per_s": 50.01}
    await show(line, **info)
    pilot.app.terminal.written.clear()
    await show(line, **info)
    await show(line, **{**info, "tokens_per_s": 50.02})  # has the same text
    assert not "".join(pilot.app.terminal.written)
