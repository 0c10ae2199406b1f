"""Quitting while something else is about to happen."""

import asyncio
import contextlib

import psutil
import pytest
from rogue_backend.definitions import rogue
from tests.workbench.history_file import rows

from paragone_workbench.store.store import Store


@pytest.mark.parametrize(
    ("action", "steps"), [("app.palette", 0), ("app.help", 1), ("screen.command('settings')", 2)]
)
async def test_the_program_can_quit_while_a_dialog_opens(start, action, steps):
    async with start(rogue("steady")) as screen:
        await screen.until(lambda: screen.lanes[0].engine.is_open)
        await screen.app.run_action(action)
        for _ in range(steps):
            await asyncio.sleep(0)
        screen.app.exit()
    assert screen.app.return_code == 0


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "`paragone` resumes it with the same engines, and ctrl+o there lists it."),
        ({"settings": "[chat]\nresume = false\n"}, "ctrl+o in `paragone` lists it."),
        ({"demo": True}, "ctrl+o in `paragone demo` lists it."),
    ],
    ids=["resumed", "not resumed", "demo"],
)
async def test_at_the_end_a_message_shows_how_to_reopen_the_conversation(start, capsys, options, found):
    async with start(rogue("steady", max_tokens=1), **options) as screen:
        screen.app.after_screen()
        assert not capsys.readouterr().err, "there is nothing to come back to"
        await screen.ask("hello")
        await screen.answered()
        await screen.press("ctrl+q")
        await screen.until(lambda: screen.app.is_leaving)
    screen.app.after_screen()
    assert capsys.readouterr().err == f"The conversation is saved as c1: {found}\n"


async def test_beside_another_instance_nothing_is_resumed_and_a_message_explains_why(start, capsys):
    settings = '[engines.steady]\nbackend = "rogue"\nmodel = "steady"\n[lanes]\nstart = ["steady"]\n'
    with contextlib.closing(Store.open()):
        async with start(settings=settings, remembered=True) as screen:
            await screen.ask("hello")
            await screen.answered()
        screen.app.after_screen()
        assert capsys.readouterr().err == "The conversation is saved as c1: ctrl+o in `paragone` lists it.\n"
        async with start(settings=settings, remembered=True) as screen:
            await screen.until(
                lambda: (
                    "'hello' is not resumed, because another paragone has the history open. ^o lists it."
                    in screen.told
                )
            )
            await screen.press("ctrl+o")
            await screen.until(lambda: getattr(screen.app.screen, "highlighted", "") == "c1")
            await screen.press("enter")
            await screen.until(lambda: "what it adds here is shown after reopening" in screen.told)


async def test_answers_are_stopped_while_quitting_waits_for_the_history(start, monkeypatch):
    monkeypatch.setattr("paragone_workbench.engines.engine.ENGINES_S", 0.0)
    async with start(rogue("steady", rate=20, max_tokens=10_000)) as screen:
        lane = screen.lanes[0]
        await screen.ask("hello")
        await screen.until(lambda: lane.state == "writing")

        async def slow():
            come = len(lane.record.head.text)
            async with asyncio.timeout(60):
                while len(lane.record.head.text) == come:  # the answer goes on meanwhile
                    await asyncio.sleep(0.01)

        monkeypatch.setattr(screen.app.lanes.session.recorder, "save_draft_now", slow)
        screen.app.exit()
    assert rows("SELECT state FROM run") == [("stopped",)]


@pytest.fixture
def find_workers():
    """A function that returns the processes that this test started."""
    before = psutil.Process().children(recursive=True)
    return lambda: [it for it in psutil.Process().children(recursive=True) if it not in before]


@pytest.mark.parametrize("frozen", [False, True], ids=["deaf", "frozen"])
async def test_quitting_kills_a_process_that_does_not_end(start, monkeypatch, find_workers, frozen):
    """Nothing but the end of the program kills the process here, and what it said is saved."""
    for module in ("client", "process"):
        monkeypatch.setattr(f"paragone.worker.{module}.GRACE", 10_000.0)
    async with start(rogue("deaf", at=1, max_tokens=2)) as screen:
        lane = screen.lanes[0]
        await screen.ask("hello")
        await screen.until(lambda: lane.record.head and lane.record.head.text)
        (worker,) = find_workers()
        if frozen:
            worker.suspend()
        screen.app.exit()
    assert screen.app.return_code == 0
    assert not worker.is_running()
    assert rows("SELECT text FROM run") == [("word0 ",)]
