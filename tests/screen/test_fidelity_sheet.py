"""The sheet that measures how far the lanes' models are from the reference lane's, with doubles."""

from pathlib import Path

import pytest

from paragone import Json
from paragone_tui.screens.fidelity_sheet import FidelitySheet
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.store.votes import Measurement


@pytest.fixture(autouse=True)
def graded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the doubles of `graded_backend` for the program."""
    info = tmp_path / "plugin" / "graded-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: graded\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[paragone]\ngraded = graded_backend\ntwin = graded_backend\n")
    monkeypatch.syspath_prepend(info.parent)


def lane(model, **options):
    return EngineDefinition(name=model, backend="graded", model=model, options=options)


async def measured(screen):
    await opened(screen)
    await screen.until(lambda: "windows of a short built-in text" in screen.text, "it is measured")


async def opened(screen):
    await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes), "engines open")
    await screen.press("escape", "V")
    await screen.until(lambda: isinstance(screen.app.screen, FidelitySheet), "the sheet opens")


def saved(screen):
    return screen.app.history.call(lambda store: store.measurements.all("fidelity"))


async def test_lanes_are_measured_against_the_reference_lane_and_saved(start):
    async with start(lane("exact"), lane("rough"), lane("exact", cache_type="q4"), size=(100, 40)) as screen:
        await measured(screen)
        assert "Distance from exact" in screen.text
        assert "reference" in screen.text
        assert "rough: mean KLD 0." in screen.text
        assert "exact-2: mean KLD 0." in screen.text
        assert "exact-2 is closer than rough" in " ".join(screen.text.replace("│", "").split())
        (found,) = await saved(screen)
        assert [engine.name for engine in found.engines] == ["exact", "rough", "exact-2"]
        assert found.data["partial"] is False
        await screen.pilot.resize_terminal(40, 12)
        await screen.press("G")
        await screen.until(lambda: "Scale of the mean KLD" in screen.text, "a small terminal has room")
        await screen.press("escape")
        assert not isinstance(screen.app.screen, FidelitySheet)
        await screen.ask("still here")  # the lanes' engines are open
        await screen.answered()
        assert all(it.last_answer for it in screen.lanes)


async def test_esc_stops_and_keeps_the_results_then_closes(start):
    async with start(lane("exact"), lane("endless")) as screen:
        await opened(screen)
        await screen.until(lambda: "window 3 of" in screen.text, "the third window begins")
        assert "esc stop, and keep the results so far" in screen.text
        await screen.press("escape")
        await screen.until(lambda: "partial" in screen.text, "it is stopped")
        assert "endless does not differ from exact at any position" in " ".join(screen.text.split())
        (found,) = await saved(screen)
        assert found.data["partial"] is True
        await screen.press("V")
        assert not isinstance(screen.app.screen, FidelitySheet)
        assert all(it.engine.is_open for it in screen.lanes)


async def test_an_engine_without_distributions_is_reported(start):
    async with start(lane("mute"), lane("exact")) as screen:
        await opened(screen)
        await screen.until(lambda: "Nothing was measured." in screen.text, "it ends")
        assert "mute reports neither distributions" in screen.text
        assert await saved(screen) == ()


async def test_the_worst_places_of_a_suite_open_at_their_tokens(start):
    def choices(*texts: str) -> Json:
        return [{"text": it, "id": at, "logprob": -1.0 - at} for at, it in enumerate(texts)]

    place: dict[str, Json] = {
        "prompt": 0,
        "question": "Why is it red?",
        "token": 13,
        "kld": 1.5,
        "conversation": "",
        "before": "It is",
    }
    place |= {
        "following": " red today",
        "reference": choices(" red", " blue"),
        "candidate": choices(" green"),
    }
    other: dict[str, Json] = {**place, "question": "And the sky?", "token": 2}
    found: Json = {"engine": "rough", "mean_kld": 0.5, "places": [place, other]}
    async with start(lane("exact"), lane("rough"), size=(100, 40)) as screen:
        engines = tuple(it.engine.definition for it in screen.lanes)
        await screen.until(lambda: all(it.engine.is_open for it in screen.lanes), "engines open")
        await screen.press("escape", "W")
        await screen.until(lambda: "No suite has been measured with exact" in screen.text, "none is known")
        data: dict[str, Json] = {"suite": {"name": "own.jsonl"}, "candidates": [found]}
        measurement = Measurement(kind="fidelity", engines=engines, data=data, created=0)
        await screen.app.history.call(lambda store: store.measurements.add(measurement))
        await screen.press("l", "W")
        await screen.until(lambda: "Token 14: where rough diverges from exact" in screen.text, "it opens")
        for text in ("fork 1 of 2", "Why is it red?", "It is …", "“ blue”", "red today", "“ green”"):
            assert text in screen.text
        await screen.press("enter")
        assert "No lane has this answer, so none can continue it." in screen.text
        await screen.press(">")
        assert "Token 3: where rough diverges from exact" in screen.text
        assert "And the sky?" in screen.text
