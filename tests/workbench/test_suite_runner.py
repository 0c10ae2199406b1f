"""Suites on the scripted backend, which is a test double: order, crashes, resuming."""

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import time

import pytest
import scripted_backend
from tests.workbench.history_file import open_history
from tests.workbench.suites import Suites, asked, contains, engine, judged, suite

from paragone import InputError
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments import suite as running_request
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.suite import AssertionSpec
from paragone_workbench.experiments.suite_engine import SuiteEngine
from paragone_workbench.experiments.suite_file import read_suite
from paragone_workbench.machine import describe_machine
from paragone_workbench.paths import history_file
from paragone_workbench.store.store import Store
from paragone_workbench.workbench import Workbench

A, B = engine("a"), engine("b")
THREE = suite("x", "y", "z")


def keys(runs):
    return [(it.result.definition.name, it.key.prompt_index) for it in runs]


async def test_sequential_engines_take_turns_in_beginning_a_prompt(suites):
    events = await suites.run(THREE, A, B, schedule="sequential")
    assert asked(events) == ["a: x", "b: x", "b: y", "a: y", "a: z", "b: z"]
    assert [it.split()[0] for it in events if it.startswith(("ask", "end"))] == ["ask", "end"] * 6


@pytest.mark.parametrize(("mode", "handles"), [("parallel", 3), ("sequential", 1), ("swap", 1), ("auto", 1)])
async def test_engines_that_share_a_model_are_opened_together(mode, handles):
    definition = EngineDefinition(
        name="a", backend="llama_server", model="/m.gguf", options={"n_parallel": 3}
    )
    async with Workbench(mode=mode) as workbench:
        SuiteEngine(workbench, definition, load_assertions(), lambda: None)
        assert len(workbench.engines) == handles


async def test_a_server_gets_concurrent_requests_unless_engines_take_turns(suites, until):
    server = dataclasses.replace(A, backend="scripted_server")
    made = suite(*(f"endless {number}" for number in range(6)))
    for schedule, most in (("parallel", 4), ("sequential", 1)):
        runner = await suites.begin(made, server, schedule=schedule, fresh=True)
        before = len(scripted_backend.EVENTS)
        running = asyncio.create_task(runner.run())
        await until(lambda before=before, most=most: len(asked(scripted_backend.EVENTS[before:])) == most)
        await runner.stop()
        await running
        await runner.close()
        assert len(asked(scripted_backend.EVENTS[before:])) == most


async def test_all_engines_get_the_same_seed_for_the_same_prompt_and_repetition(suites):
    async def seeds():
        runs = await suites.saved()
        return {(run.key.prompt_index, run.key.repetition, run.result.settings.seed) for run in runs}

    await suites.run(THREE, A, B, repetitions=2)
    found = await seeds()
    assert len(found) == len({seed for *_, seed in found}) == 6
    assert all(0 <= seed < 2**31 for *_, seed in found)
    await suites.run(THREE, A, repetitions=2, fresh=True)
    assert await seeds() == found


@pytest.mark.parametrize("seed", [3, None])
async def test_a_seed_set_by_the_user_replaces_the_suites_seeds(suites, seed):
    await suites.run(THREE, engine("a", seed=seed), B)
    seeds = [it.result.settings.seed for it in await suites.saved() if it.key.engine_index == 0]
    assert seeds == [seed] * 3


async def test_failed_runs_count_as_finished_unless_they_are_to_be_retried(suites):
    made = suite("x", "fail y")
    await suites.run(made, A)
    assert [it.result.state for it in await suites.saved()] == ["done", "failed"]
    assert await suites.run(made, A) == []
    assert suites.runner.progress[0].failed == 1
    assert asked(await suites.run(made, A, retry_failed=True)) == ["a: fail y"]
    assert [it.result.state for it in await suites.saved()] == ["done", "failed"]


async def test_of_two_instances_that_begin_simultaneously_one_is_refused(suites, monkeypatch):
    other = await open_history()

    async def slowly():
        patch.undo()
        await Suites(other).begin(THREE, A)
        return await describe_machine()

    try:
        with monkeypatch.context() as patch:
            patch.setattr(running_request, "describe_machine", slowly)
            with pytest.raises(InputError, match="another instance"):
                await suites.begin(THREE, A)
    finally:
        await other.close()


async def test_after_a_crash_the_engine_is_reopened_and_continues(suites):
    made = suite("x", "crash", "y", "crash", "z")
    for schedule in ("parallel", "sequential", "swap"):
        events = await suites.run(made, A, B, schedule=schedule, fresh=True)
        runs = await suites.saved()
        assert [it.result.state for it in runs if it.result.definition.name == "a"] == [
            "done", "failed", "done", "failed", "done",
        ], schedule  # fmt: skip
        assert len(asked(events)) == 10, "each prompt was asked once"
        assert events.count("open a") == 3
        assert suites.runner.given_up == ()


async def test_an_engine_that_crashes_three_times_in_a_row_is_given_up(suites):
    made = suite("x", "crash 1", "crash 2", "crash 3", "y", "z")
    events = await suites.run(made, A, engine("steady"), schedule="sequential")
    runs = await suites.saved()
    states = {
        name: [it.result.state for it in runs if it.result.definition.name == name]
        for name in ("a", "steady")
    }
    assert states == {"a": ["done", *3 * ["failed"]], "steady": 6 * ["done"]}
    assert not {"a: y", "a: z"} & set(asked(events))
    (error,) = suites.runner.given_up
    assert error.message.startswith("The engine a crashed 3 times in a row: ")
    events = await suites.run(made, A, engine("steady"), schedule="sequential")
    assert asked(events) == ["a: y", "a: z"]


async def test_the_other_engines_continue_when_one_cannot_be_opened(suites):
    for schedule in ("parallel", "sequential", "swap"):
        await suites.run(THREE, engine("gone"), A, schedule=schedule, fresh=True)
        assert keys(await suites.saved()) == [("a", 0), ("a", 1), ("a", 2)]
        (error,) = suites.runner.given_up
        assert error.message == "The model gone is gone."
        assert suites.runner.progress[0].left == 0


@pytest.mark.thorough
async def test_a_full_disk_stops_the_suite_without_losing_finished_runs(suites):
    """SQLite's limit of pages simulates the full disk."""

    def limit(pages):
        return suites.history.call(lambda store: store._database.run(f"PRAGMA max_page_count = {pages}"))

    made = suite(*(f"{number} " + "long " * 10000 for number in range(8)))
    runner = await suites.begin(made, A, B)
    ((used,),) = await suites.history.call(lambda store: store._database.rows("PRAGMA page_count"))
    await limit(used + 50)
    await runner.run()
    await runner.close()
    assert "the disk is full" in runner.failure.message
    done = keys(await suites.saved())
    assert 0 < len(done) < 16
    await limit(1000000)
    events = await suites.run(made, A, B)
    assert len(asked(events)) == 16 - len(done)
    assert len(await suites.saved()) == 16


@pytest.mark.parametrize("passes", [True, False])
async def test_a_run_waits_for_a_locked_history_up_to_a_limit(suites, until, monkeypatch, passes):
    waits: list[float | None] = []
    wait_for_locks = Store.wait_for_locks

    def noted(store, seconds):
        waits.append(seconds)
        wait_for_locks(store, seconds if passes else 0)

    await suites.begin(THREE, A)
    monkeypatch.setattr(Store, "wait_for_locks", noted)
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        running = asyncio.create_task(suites.runner.run())
        await until(lambda: 60 in waits)
        if passes:
            other.execute("ROLLBACK")
        await running
    await suites.runner.close()
    if passes:
        assert (suites.runner.failure, len(await suites.saved())) == (None, 3)
    else:
        assert "another program keeps it locked" in suites.runner.failure.message


async def test_judges_are_asked_after_all_runs_and_opened_once(suites):
    made = suite("x", "bad y", "nonsense z", assertions=[judged(), contains("X")])
    events = await suites.run(made, A, B, schedule="swap", judges=[engine("judge")])
    assert events.count("open judge") == 1
    assert max(events.index("close a"), events.index("close b")) < events.index("open judge")
    runs = await suites.saved()
    found = [[(it.type, it.passed) for it in run.checks] for run in runs if run.key.engine_index == 0]
    assert found == [
        [("judge", True), ("contains", True)],
        [("judge", False), ("contains", False)],
        [("judge", None), ("contains", False)],
    ]
    assert "no clear verdict" in next(it.reason for it in runs[-1].checks)
    progress = suites.runner.progress[0]
    assert progress.verdicts == {True: 1, False: 1, None: 1}


async def test_judging_is_resumed_and_undecided_results_are_retried_on_request(suites):
    made = suite("x", "nonsense z", assertions=[judged()])
    events = await suites.run(made, A, judges=[engine("judge")])
    assert asked(events)[2:] == ["judge: x X", "judge: nonsense z NONSENSE Z"]
    assert await suites.run(made, A, judges=[engine("judge")]) == []
    assert suites.runner.progress[0].verdicts[None] == 1
    events = await suites.run(made, A, judges=[engine("judge")], retry_failed=True)
    assert asked(events) == ["judge: nonsense z NONSENSE Z"]
    assert suites.runner.progress[0].verdicts[None] == 1


async def test_a_judge_replaced_between_two_commands_is_refused(suites, monkeypatch):
    made = suite("x", "nonsense z", assertions=[judged()])
    monkeypatch.setattr(scripted_backend, "FACTS", {"server": "Scripts 1.0"})
    await suites.run(made, A, judges=[engine("judge")])
    monkeypatch.setattr(scripted_backend, "FACTS", {"server": "Scripts 2.0"})
    await suites.run(made, A, judges=[engine("judge")], retry_failed=True)
    (error,) = suites.runner.given_up
    assert "has changed since the earlier verdicts" in error.message
    assert "Scripts 1.0, and is now judge = scripted:judge, Scripts 2.0" in error.message
    assert "--fresh" in error.hint
    assert {it.judges for run in await suites.saved() for it in run.checks} == {
        "judge = scripted:judge, Scripts 1.0"
    }


async def test_runs_of_an_engine_replaced_between_two_commands_fail(suites, monkeypatch):
    """The first command is given fewer prompts: it stands in for one that was interrupted."""
    made = suite("x", "y")
    monkeypatch.setattr(scripted_backend, "FACTS", {"server": "Scripts 1.0"})
    await suites.run(made, A, B, chosen=frozenset({0}))
    monkeypatch.setattr(scripted_backend, "FACTS", {"server": "Scripts 2.0"})
    await suites.run(made, A, B)
    assert suites.resumed
    assert [it.message for it in suites.runner.given_up] == [
        f"Another model answered as {name}: in e1, the server was Scripts 1.0 and is Scripts 2.0."
        for name in "ab"
    ]
    failed = [run for run in await suites.saved() if run.result.state == "failed"]
    assert [run.key.prompt_index for run in failed] == [1, 1]
    assert {run.result.error for run in failed} == {it.message for it in suites.runner.given_up}
    monkeypatch.setattr(scripted_backend, "FACTS", {"server": "Scripts 1.0"})
    await suites.run(made, A, B, retry_failed=True)
    assert {run.result.state for run in await suites.saved()} == {"done"}


async def test_an_answer_of_another_server_at_the_same_address_is_refused(suites, monkeypatch):
    """A test double of an address with several servers: what is opened first is the other server than that of the rest."""
    begin = scripted_backend.ScriptedEngine.__init__
    servers = iter(["Scripts 1.0"])

    def open_next(self, *args):
        monkeypatch.setattr(scripted_backend, "FACTS", {"server": next(servers, "Scripts 2.0")})
        begin(self, *args)

    monkeypatch.setattr(scripted_backend.ScriptedEngine, "__init__", open_next)
    server = dataclasses.replace(A, backend="scripted_server")
    await suites.run(suite("x"), server, schedule="parallel")
    (run,) = await suites.saved()
    assert run.result.state == "failed"
    assert "the server was Scripts 1.0 and is Scripts 2.0" in run.result.error


async def test_a_judge_that_keeps_crashing_is_given_up(suites):
    made = suite(*(f"crash {number}" for number in range(5)), assertions=[judged()])
    events = await suites.run(made, engine("steady"), judges=[engine("judge")])
    assert len([it for it in asked(events) if it.startswith("judge")]) == 3
    found = [[it.passed for it in run.checks] for run in await suites.saved()]
    assert found == [[None], [None], [None], [], []]
    assert "crashed 3 times in a row" in suites.runner.given_up[0].message


async def test_the_users_own_system_prompt_is_not_sent_to_a_judge_that_only_the_suite_names(suites, tmp_path):
    file = tmp_path / "suite.jsonl"
    checks = [{"type": "judge", "engine": "scripted:judge", "criterion": "good"}]
    prompts = [
        {"prompt": "x", "assertions": checks},
        {"prompt": "y", "system": "theirs", "assertions": checks},
    ]
    file.write_text("".join(f"{json.dumps(prompt)}\n" for prompt in prompts))
    made = read_suite(file, load_assertions(), system="mine")
    judge = engine("judge", "scripted:judge")
    foreign = frozenset({judge.name})
    events = await suites.run(made, A, judges=[judge], foreign_judges=foreign)
    assert asked(events)[2:] == ["judge: x X", "judge: system: theirs Y"]
    events = await suites.run(made, A, judges=[judge], fresh=True)
    assert asked(events)[2:] == ["judge: system: mine X", "judge: system: theirs Y"]


async def test_changes_of_the_wall_clock_do_not_affect_times(suites, monkeypatch):
    real, ahead = time.time, 0.0
    happened = scripted_backend.ScriptedEngine.happened

    def set_the_clock(engine, event: str) -> None:
        nonlocal ahead
        happened(engine, event)
        if event.startswith("end"):
            ahead = 3600.0

    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    monkeypatch.setattr(scripted_backend.ScriptedEngine, "happened", set_the_clock)
    limit = AssertionSpec(type="latency", options={"max_total_s": 60.0})
    await suites.run(suite("x", assertions=[limit]), A)
    assert [[check.passed for check in run.checks] for run in await suites.saved()] == [[True]]
    assert ahead


async def test_a_relative_path_is_another_model_in_another_folder(suites, tmp_path, monkeypatch):
    for name in ("q4", "q8"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.gguf").touch()
    monkeypatch.chdir(tmp_path / "q4")
    model = engine("model.gguf")
    await suites.run(THREE, model)
    monkeypatch.chdir(tmp_path / "q8")
    assert len(asked(await suites.run(THREE, model))) == 3
    assert not suites.resumed
    same = dataclasses.replace(model, model=str(tmp_path / "q4" / "model.gguf"))
    assert await suites.run(THREE, same) == []
    (tmp_path / "q4" / "model.gguf").write_bytes(b"newer")
    await suites.run(THREE, same)
    assert not suites.resumed


async def test_secrets_are_neither_saved_nor_in_the_fingerprint(suites):
    await suites.run(THREE, engine("a", password="hunter2"))
    assert await suites.run(THREE, engine("a", password="other")) == []
    assert b"hunter2" not in history_file().read_bytes()


async def test_another_schedule_continues_the_experiment_and_other_options_begin_a_new_one(suites):
    await suites.run(THREE, A)
    assert await suites.run(THREE, A, schedule="swap") == []
    for other in (
        (suite("x", "y", "w"), A, {}),
        (suite("x", "y", "z", assertions=[contains("X")]), A, {}),
        (THREE, engine("a", seed=3), {}),
        (THREE, A, {"repetitions": 2}),
        (THREE, A, {"fresh": True}),
    ):
        made, one, more = other
        await suites.run(made, one, **more)
        assert not suites.resumed


async def test_an_engine_that_cannot_be_opened_again_is_given_up(suites):
    await suites.run(suite("x", "crash", "y"), engine("frail"))
    assert [it.result.state for it in await suites.saved()] == ["done", "failed"]
    assert suites.runner.given_up[0].message == "The model frail is gone."
