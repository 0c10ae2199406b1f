"""Loads that hang are stopped with the keys that stop answers; an engine that dies while idle says so."""

import psutil
from rogue_backend.definitions import rogue

HANGS = {"load_s": 3600}


async def test_a_load_that_hangs_is_stopped_by_a_key_and_restarted_by_another(start, monkeypatch):
    for module in ("client", "process"):
        monkeypatch.setattr(f"paragone.worker.{module}.GRACE", 0.1)
    async with start(rogue("steady", "hanging", **HANGS)) as screen:
        (lane,) = screen.lanes
        await screen.until(lambda: lane.engine.load_fraction is not None, "it loads")
        await screen.press("ctrl+c")
        await screen.until(lambda: lane.state == "stopped")
        await screen.until(lambda: "Loading the model was stopped." in screen.text)
        assert "f7 starts the engine again" in screen.text
        await screen.until(lambda: lane.engine.is_empty, "its process has ended")
        await screen.press("f7")
        await screen.until(lambda: lane.state == "loading")
        await screen.press("f8")
        await screen.until(lambda: lane.state == "stopped")


async def test_ctrl_c_stops_answers_first_and_then_loading(start):
    async with start(rogue("steady", "hanging", **HANGS), rogue("steady", rate=20)) as screen:
        hanging, steady = screen.lanes
        await screen.until(lambda: steady.engine.is_open and hanging.engine.load_fraction is not None)
        await screen.type("hello")
        await screen.press("enter")
        await screen.until(lambda: steady.state == "writing")
        await screen.press("ctrl+c")
        await screen.answered()
        assert (hanging.state, steady.state) == ("loading", "stopped")
        assert "Models are still loading; ^c again stops that." in screen.told
        await screen.press("ctrl+c")
        await screen.until(lambda: hanging.state == "stopped")
        assert "Loading stops." in screen.told


async def test_the_end_of_an_idle_engine_is_shown_and_others_answer(start):
    async with start(rogue("steady", "dying"), rogue("steady")) as screen:
        dying, steady = screen.lanes
        await screen.ask("go")
        await screen.answered()
        psutil.Process(dying.engine._opened.pid).kill()
        await screen.until(lambda: dying.state == "crashed", "nobody asks it anything")
        await screen.until(lambda: "SIGKILL" in screen.text)
        await screen.ask("go on")
        await screen.answered()
        assert len(steady.path) == 2
        await screen.press("f7")
        await screen.until(lambda: dying.state == "ready")
        await screen.press("f5")
        await screen.answered()
        assert dying.last.prompt.text == "go on"
