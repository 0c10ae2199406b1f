"""The worker with real failures: processes that are killed, crash, hang, print, or send invalid data."""

import asyncio
import os
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import psutil
import pytest
from rogue_backend.plugin import RogueBackend
from tests.processes import gone, words_of

import paragone
from paragone.worker import client
from paragone.worker.client import UNREAD, Worker

started_anew = pytest.mark.usefixtures("new_interpreters")
"""For tests of how a worker starts, of its log, and of its interpreter. Those of the others are forks."""


def ask(text: str = "say something", **sampling: float) -> paragone.RunRequest:
    return paragone.RunRequest(messages=(paragone.Message(role="user", text=text),), sampling=sampling)


async def opened(model: str, **options: Any) -> Worker:
    engine = await RogueBackend().open(paragone.OpenRequest(model=model, **options), lambda progress: None)
    assert isinstance(engine, Worker)
    return engine


async def collect(
    engine: paragone.OpenEngine, request: paragone.RunRequest
) -> tuple[list[paragone.Event], paragone.ParagoneError | None]:
    events: list[paragone.Event] = []
    try:
        async for event in engine.run(request):
            events.append(event)  # noqa: PERF401 (what came before an error counts)
    except paragone.ParagoneError as error:
        return events, error
    return events, None


def text_of(events: list[paragone.Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, paragone.Token))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def until(condition) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


@started_anew
async def test_a_run_arrives_completely_and_in_order():
    seen: list[paragone.LoadProgress] = []
    engine = await RogueBackend().open(paragone.OpenRequest(model="steady"), seen.append)
    assert isinstance(engine, Worker)
    assert [progress.fraction for progress in seen] == pytest.approx([n / 10 for n in range(11)])
    events, error = await collect(engine, ask(max_tokens=50))
    assert error is None
    assert isinstance(events[0], paragone.RunSettings)
    assert isinstance(events[1], paragone.PromptProgress)
    assert isinstance(events[-1], paragone.Finish)
    assert text_of(events) == "".join(f"word{n} " for n in range(50))
    times = [event.time for event in events if isinstance(event, paragone.PromptProgress | paragone.Token)]
    assert times == sorted(times)
    await engine.close()
    assert not alive(engine.pid)


async def full_inbox(engine: Worker) -> asyncio.Queue[Any]:
    """Return the inbox of the run that has begun, once no more events are read ahead."""
    job = engine._job
    assert job is not None
    await until(lambda: not engine._reads.is_set())
    return job.inbox


async def test_a_worker_is_read_no_faster_than_its_events_are_used():
    engine = await opened("steady")
    run = engine.run(ask(max_tokens=20_000))
    events = [await anext(run)]
    inbox = await full_inbox(engine)
    assert UNREAD // 2 <= inbox.qsize() <= UNREAD
    events += [event async for event in run]
    assert text_of(events) == "".join(f"word{n} " for n in range(20_000))
    await engine.close()


async def test_a_run_whose_events_wait_in_the_worker_can_be_abandoned():
    engine = await opened("steady")
    run = engine.run(ask(max_tokens=10_000_000))
    await anext(run)
    await full_inbox(engine)
    await run.aclose()
    events, error = await collect(engine, ask(max_tokens=1))
    assert error is None
    assert text_of(events) == "word0 "
    await engine.close()


async def test_a_worker_that_freezes_is_killed(monkeypatch):
    engine = await opened("steady")
    monkeypatch.setattr(client, "FREEZE_CHECK_S", 0.02)
    os.kill(engine.pid, signal.SIGSTOP)
    events, error = await collect(engine, ask(max_tokens=1))
    assert events == []
    assert isinstance(error, paragone.EngineCrashed)
    assert "did nothing" in error.message
    assert not alive(engine.pid)
    await engine.close()


async def test_a_silently_waiting_worker_answers_pings(monkeypatch):
    engine = await opened("steady")
    worker = engine
    monkeypatch.setattr(client, "FREEZE_CHECK_S", 0.02)
    monkeypatch.setattr(client, "FROZEN_CHECKS", 1_000_000)
    heard = worker._heard
    run = engine.run(ask(max_tokens=2, rate=0.001))
    assert isinstance(await anext(run), paragone.RunSettings)
    await until(lambda: worker._heard >= heard + 5)  # the settings, the progress and a token are fewer
    monkeypatch.setattr(client, "GRACE", 0)
    await run.aclose()
    await engine.close()


async def test_a_worker_that_is_killed_while_its_events_wait_is_reported():
    engine = await opened("steady")
    run = engine.run(ask(max_tokens=10_000_000))
    await anext(run)
    await full_inbox(engine)
    os.kill(engine.pid, signal.SIGKILL)
    await until(lambda: not alive(engine.pid))
    with pytest.raises(paragone.EngineCrashed):
        async for _ in run:
            pass
    await engine.close()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "killed",
            "The engine's process was ended by SIGKILL: another process killed it, or the system "
            "did because memory ran out.",
        ),
        ("null", "The engine's process was ended by SIGSEGV: Segmentation fault."),
        ("torn", "The engine's process ended unexpectedly with exit code 0."),
        ("garbage", "The engine's process sent an unreadable message, so it was killed."),
        ("flood", "The engine's process sent an unreadable message, so it was killed."),
        ("orphan", "The engine's process ended unexpectedly with exit code 4."),
    ],
)
async def test_a_crash_keeps_the_text_so_far_and_does_not_affect_other_workers(model: str, message: str):
    bad, good = await asyncio.gather(opened(model), opened("steady"))
    run = good.run(ask(max_tokens=40))
    others = [await anext(run)]
    events, error = await collect(bad, ask(max_tokens=10, at=5))
    assert text_of(events) == "word0 word1 word2 word3 word4 "
    assert isinstance(error, paragone.EngineCrashed)
    assert error.message == message
    assert "Traceback" not in " ".join(error.log_tail)
    others += [event async for event in run]
    assert text_of(others) == "".join(f"word{n} " for n in range(40))
    with pytest.raises(paragone.EngineCrashed):  # later calls fail with the same message
        await bad.tokenize(paragone.TokenizeRequest(text="still there?"))
    await bad.close()
    await good.close()


@started_anew
async def test_a_librarys_last_lines_are_in_the_error_and_the_log(tmp_path: Path):
    log = tmp_path / "engine.log"
    engine = await opened("abort", log=str(log))
    _, error = await collect(engine, ask())
    assert isinstance(error, paragone.EngineCrashed)
    assert error.log_tail == ("GGML_ASSERT(false) failed: this is what a library says before it aborts",)
    assert error.status == -signal.SIGABRT
    assert str(log) in error.hint
    assert "GGML_ASSERT" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    await engine.close()


@started_anew
async def test_megabytes_of_output_do_not_block_a_worker():
    engine = await opened("loud")
    events, error = await collect(engine, ask(max_tokens=10))
    assert error is None
    assert text_of(events).endswith("word9 ")
    await engine.close()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("raises", "The engine failed: RuntimeError: the kernel image is unhappy."),
        ("huge", f"The engine failed: RuntimeError: {'x' * 10_000}"[:3999] + "…"),
    ],
)
async def test_a_long_exception_is_shortened_and_the_worker_continues(model, message):
    engine = await opened(model)
    events, error = await collect(engine, ask())
    assert text_of(events) == "word0 word1 word2 word3 word4 "
    assert isinstance(error, paragone.EngineError)
    assert error.message == message
    again, error = await collect(engine, ask(max_tokens=3))
    assert error is None
    assert text_of(again) == "word0 word1 word2 "
    await engine.close()


async def test_an_engine_that_ignores_a_stop_is_killed_and_reported(monkeypatch):
    engine = await opened("deaf")
    text = ""
    with pytest.raises(paragone.EngineCrashed, match="did not stop"):  # noqa: PT012 (what came before counts)
        async for event in engine.run(ask()):
            text += text_of([event])
            if text.endswith("word4 "):
                monkeypatch.setattr(client, "GRACE", 0)
                await engine.stop()
    assert text == "word0 word1 word2 word3 word4 "
    assert not alive(engine.pid)
    await engine.close()


async def test_closing_that_is_cancelled_leaves_no_connection_open():
    engine = await opened("steady")
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert engine._connection.fileno() == -1
    await until(lambda: not alive(engine.pid))


@started_anew
async def test_loading_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(client, "GRACE", 0)
    seen: list[paragone.LoadProgress] = []
    request = paragone.OpenRequest(model="steady", options={"load_s": 3600})
    loading = asyncio.create_task(RogueBackend().open(request, seen.append))
    await until(lambda: seen)
    (process,) = [
        it for it in psutil.Process().children() if "rogue_backend.engine:RogueEngine" in words_of(it)
    ]
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert not alive(process.pid)


@pytest.mark.parametrize("how", ["closed", "killed"])
async def test_child_processes_of_a_worker_end_with_it(how):
    engine = await opened("leaving")
    child = int(engine.loaded.facts["child"])
    assert alive(child)
    if how == "killed":
        os.kill(engine.pid, signal.SIGKILL)
        await gone(child)
    await engine.close()
    await gone(child)


async def test_a_worker_and_its_child_processes_end_with_the_program():
    program = """
import asyncio
from rogue_backend.plugin import RogueBackend
from paragone import Message, OpenRequest, RunRequest
async def main():
    engine = await RogueBackend().open(OpenRequest(model="leaving"), lambda progress: None)
    print(engine.pid, engine.loaded.facts["child"], flush=True)
    async for event in engine.run(RunRequest(messages=(Message(role="user", text="hi"),), sampling={"max_tokens": 10**6, "rate":
    50})):
        pass
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [*map(int, parent.stdout.readline().split())]
    assert all(map(alive, pids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for pid in pids:
        await gone(pid)


@started_anew
async def test_a_program_that_is_not_an_interpreter_is_reported():
    with pytest.raises(
        paragone.InputError, match=r"/nowhere/python cannot be started: No such file.*`python` setting"
    ):
        await opened("steady", python="/nowhere/python")
    with pytest.raises(paragone.EngineCrashed, match="exit code"):
        await opened("steady", python="/bin/false")


class Needy(RogueBackend):
    """A backend whose engine imports a package that only our own environment has."""

    engine = "rogue_backend.needy:NeedyEngine"
    install = "pip install pluggy"


@started_anew
async def test_a_foreign_interpreter_sees_only_two_of_our_packages(tmp_path: Path):
    venv.create(tmp_path / "bare", with_pip=False)
    python = str(tmp_path / "bare" / "bin" / "python")
    engine = await opened("steady", python=python)
    events, error = await collect(engine, ask(max_tokens=3))
    assert error is None
    assert text_of(events) == "word0 word1 word2 "
    await engine.close()
    probe = await RogueBackend().probe(python)
    assert probe.usable
    assert probe.facts["python"] == python
    probe = await Needy().probe(python)
    assert not probe.usable
    assert probe.reason == f"No module named 'pluggy', in {python}."
    assert probe.remedy == "pip install pluggy"
    assert (await Needy().probe()).usable


@started_anew
async def test_a_log_that_cannot_be_opened_is_reported(tmp_path):
    with pytest.raises(
        paragone.EngineError, match=r"The engine's log cannot be opened in .*/nowhere/log: No such file"
    ) as caught:
        await opened("steady", log=str(tmp_path / "nowhere" / "log"))
    assert not isinstance(caught.value, paragone.InputError), "the interpreter is not to blame"
