from itertools import product

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


async def test_texts(line):
    for info, wanted in (
        ({}, " no engine"),
        ({"engine": "x\x1b[2J\ny\u202e", "state": "ready"}, " x␛[2J y␦  ready"),
        ({"engine": "smol", "state": "loading"}, " smol  loading"),
        ({"engine": "smol", "state": "loading", "loaded": 0.5}, " smol  loading   50%  ██████░░░░░░"),
        ({"engine": "smol", "state": "loading", "loaded": 0.01}, " smol  loading    1%  ▏░░░░░░░░░░░"),
        ({"engine": "smol", "state": "ready", "context_size": 8192}, " smol  ready"),
        (
            {"engine": "smol", "state": "ready", "context_used": 0, "context_size": 8192},
            " smol  ready  context 0/8,192",
        ),
        ({"engine": "smol", "state": "waiting"}, " smol  waiting"),
        (
            {"engine": "smol", "state": "reading", "prompt_done": 1024, "prompt_total": 4096},
            " smol  reading the prompt  1,024/4,096  ███░░░░░░░░░",
        ),
        (
            {"engine": "smol", "state": "writing", "tokens": 1400, "tokens_per_s": 49.64, "ttft_s": 0.123},
            " smol  writing  49.6 tok/s  TTFT 123 ms  1,400 tokens",
        ),
        (
            {
                "engine": "s",
                "state": "done",
                "tokens_per_s": 241.3,
                "ttft_s": 2.25,
                "context_used": 90,
                "context_size": 100,
            },
            " s  done  241 tok/s  TTFT 2.2 s  context 90/100",
        ),
        (
            {"engine": "s", "state": "done", "tokens_per_s": 54, "acceptance": 0.45, "tokens_per_step": 2.5},
            " s  done  54.0 tok/s  2.5 a step, 45% of drafts",
        ),
        ({"engine": "smol", "state": "stopped", "tokens": 1}, " smol  stopped  1 token"),
        (
            {"engine": "smol", "state": "done", "tokens_per_s": 54.0, "shared": True, "tokens": 99},
            " smol  done  54.0 tok/s shared  99 tokens",
        ),
        ({"engine": "smol", "state": "queued"}, " smol  waiting for the server"),
        (
            {"engine": "smol", "state": "queued", "silent_s": 7, "stop_key": "esc"},
            " smol  waiting for the server: no data for 7 s  esc stops",
        ),
        (
            {"engine": "smol", "state": "writing", "silent_s": 12, "stop_key": "esc", "tokens": 2},
            " smol  no data from the server for 12 s  esc stops  2 tokens",
        ),
        (
            {"engine": "smol", "state": "reading", "silent_s": 12, "is_local": True, "stop_key": "esc"},
            " smol  no data from the engine for 12 s  esc stops",
        ),
        ({"engine": "smol", "state": "crashed"}, " smol  crashed"),
        ({"engine": "smol", "state": "loading", "loaded": 7.0}, " smol  loading  100%  ████████████"),
    ):
        assert " ".join((await show(line, **info)).split()) == " ".join(wanted.split())


@pytest.mark.parametrize("width", [1, 10, 18, 25, 40, 100])
async def test_parts_that_do_not_fit_are_left_out(line, width):
    pilot, widget = line
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
        assert "49.6 tok/s" in shown or "50/s" in shown, "the speed is the last to be left out"
    for figure, rest in [
        ("49.6", "tok/s"),
        ("context", "900/8,192"),
        ("TTFT", "120 ms"),
        ("1,400", "tokens"),
    ]:
        assert (figure in shown) == (rest in shown)
    if width >= 100:
        assert "a-rather-long-name-今" in shown
        assert "1,400 tokens" in shown


@pytest.mark.parametrize("width", [20, 26, 40])  # six lanes at 120 columns, three and two at 80
async def test_the_speed_is_shown_however_narrow_a_lane_is(line, width):
    pilot, widget = line
    await pilot.resize_terminal(width, 3)
    states: tuple[LaneState, ...] = ("writing", "done", "stopped")
    for state, rate in product(states, (4.96, 49.6, 1234.5)):
        widget.show(
            LaneStatusInfo(
                mark="▸ ◆ ",
                engine="SmolLM2-135M-Q4_K_M",
                others=("SmolLM2-135M-Q8_0", "SmolLM2-135M-Q2_K"),
                state=state,
                differences=2,
                tokens=140,
                tokens_per_s=rate,
                ttft_s=0.12,
                context_used=900,
                context_size=8192,
            )
        )
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
