"""The ledger: sums over the history in SQL, the same over runs in memory, and the time from which on runs are counted."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import pytest
from tests.workbench.history_file import open_store, rows

from paragone import InputError
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.identity import new_id
from paragone_workbench.ledger.ledger import Ledger, costs_by_engine
from paragone_workbench.ledger.since import since_time
from paragone_workbench.ledger.wording import energy_text, usd_text
from paragone_workbench.machine.energy import Energy
from paragone_workbench.paths import history_file
from paragone_workbench.runs.costs import MOST_TOKENS, Costs
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store.tables import costs as table

GPU = ("GPU 0",)
BOTH = ("CPU package-0", "GPU 0")
COUNTED = RunMetrics(prompt_tokens=30, cached_tokens=10, completion_tokens=5)


def run(engine="small", metrics: RunMetrics | None = COUNTED, **fields):
    known = {"started": 100.0, "ended": 106.0, "waited_s": 2.0, "state": "done", **fields}
    definition = EngineDefinition(name=engine, backend="paper", model="m")
    return RunResult(id=new_id(), definition=definition, metrics=metrics, **known)


RUNS = (
    run(),
    run(metrics=replace(COUNTED, energy=Energy(joules=8.5, devices=GPU))),
    run(metrics=replace(COUNTED, energy=Energy(joules=1.5, devices=BOTH), shared=True)),
    run(metrics=replace(COUNTED, energy=Energy(devices=GPU), shared=True)),
    run(metrics=replace(COUNTED, prompt_tokens=None, cached_tokens=None, estimated=True)),
    run("large\x1b[2J", metrics=replace(COUNTED, prompt_tokens=10**400, completion_tokens=-7)),
    run("large\x1b[2J", metrics=replace(COUNTED, prompt_tokens=MOST_TOKENS, completion_tokens=MOST_TOKENS)),
    run("large\x1b[2J", waited_s=None),  # written by an earlier version
    run("large\x1b[2J", ended=90.0),  # the clock was set back
    run("broken", None, state="interrupted", ended=None),
    run("broken", None, state="failed", waited_s=None),  # its engine could not be opened
    run("running", state="running"),
)


@pytest.fixture
def store(home):
    with closing(open_store()) as store:
        yield store


def save(store, *results):
    for result in results:
        store.save_run(result, purpose="answer")


def test_a_run_costs_its_tokens_seconds_and_joules():
    assert Costs.of(RUNS[1]) == Costs(
        runs=1,
        prompt_tokens=30,
        cached_tokens=10,
        completion_tokens=5,
        seconds=4.0,
        joules=8.5,
        devices=GPU,
        measured=1,
    )
    assert Costs.of(RUNS[9]) == Costs(runs=1, uncounted=1)
    assert [Costs.of(it) for it in RUNS[10:]] == [Costs(), Costs()]


def test_the_table_of_runs_gives_the_same_sums_as_the_runs(store):
    save(store, *RUNS)
    in_memory = costs_by_engine(RUNS)
    assert store.costs() == in_memory
    assert list(store.costs()) == sorted(in_memory)
    small, large = in_memory["small"], in_memory["large\x1b[2J"]
    assert (small.runs, small.measured, small.shared, small.estimated, small.uncounted) == (5, 2, 1, 1, 1)
    assert (small.joules, small.devices, small.prompt_tokens) == (10.0, BOTH, 120)
    assert (large.runs, large.uncounted, large.prompt_tokens) == (4, 1, MOST_TOKENS + 60)


def test_impossible_energies_and_damaged_names_spoil_no_sum(store):
    impossible = [
        replace(COUNTED, energy=Energy(joules=value, devices=GPU)) for value in (1e308, 1e308, -5.0)
    ]
    runs = [run(metrics=replace(COUNTED, energy=Energy(joules=2.0, devices=GPU)))]
    runs += [run(metrics=metrics) for metrics in impossible]
    save(store, *runs)
    assert store.costs() == costs_by_engine(runs)
    assert (store.costs()["small"].joules, store.costs()["small"].measured) == (2.0, 1)
    with closing(sqlite3.connect(history_file())) as raw:
        raw.execute("UPDATE run SET engine = x'ff' WHERE number = 4")
        raw.commit()
    assert {name: costs.runs for name, costs in store.costs().items()} == {"?": 1, "small": 3}


def test_runs_since_a_time(store):
    save(store, run(started=50.0), run(started=100.0))
    assert [store.costs(since)["small"].runs for since in (0, 50, 50.5, 100)] == [2, 2, 1, 1]
    assert store.costs(100.5) == {}


def test_a_result_that_is_no_json_for_sqlite_is_saved_and_counts_nothing(store):
    save(store, run(metrics=replace(COUNTED, decode_tps=float("nan"))), run())
    assert store.costs()["small"].runs <= 2
    assert rows("SELECT count(*) FROM run") == [(2,)]
    with closing(sqlite3.connect(history_file())) as raw:
        raw.execute("UPDATE run SET result = '{' WHERE number = 1")
        raw.commit()
    assert store.costs()["small"].runs == 1


def test_the_sums_read_the_index_alone(store):
    """So they need neither texts nor JSON: a million runs are an index of about 60 MB."""
    steps = rows(f"EXPLAIN {table._COSTS.replace('?', '0')}")
    opened = {cursor: root for _, step, cursor, root, *_ in steps if step == "OpenRead"}
    read = {opened[cursor] for _, step, cursor, *_ in steps if step == "Column" and cursor in opened}
    assert read == {rows("SELECT rootpage FROM sqlite_master WHERE name = 'run_costs'")[0][0]}
    assert not [step for step in steps if "json" in str(step)]


# ── The ledger ──


def test_the_ledger_says_what_its_sums_lack():
    notes = list(Ledger(engines=costs_by_engine(RUNS), prices=None, missing=("No CPU.",)).notes())
    assert notes == [
        "Tokens are missing in 3 of 10 runs, where the engine did not report them.",
        "Tokens out are estimated in 1 of 10 runs: the engine did not count them, so the pieces that it sent "
        "are counted.",
        "The energy is that of CPU package-0, GPU 0, including everything else that ran there.",
        "The energy is known for 2 of 10 runs.",
        "In 1 run other runs computed at the same time (shared): each run got an equal part of the energy of that time.",
        "No CPU.",
    ]
    assert list(Ledger(engines=costs_by_engine(RUNS[:1]), prices=None).notes()) == []


def test_the_json_of_a_ledger_without_energy_and_prices():
    found = json.loads(json.dumps(Ledger(engines=costs_by_engine(RUNS[:1]), prices=None).to_json()))
    assert (found["prices"], found["since"], found["total"]["joules"]) == (None, None, None)


@pytest.mark.parametrize(
    ("costs", "text"),
    [
        (Costs(runs=1), "unknown"),
        (Costs(runs=1, measured=1, joules=0.25), "0.2 J"),
        (Costs(runs=2, measured=1, joules=1250.0), "1.2 kJ+"),
        (Costs(runs=1, measured=1, joules=3.6e6), "3.6 MJ"),
    ],
)
def test_energy_as_text(costs, text):
    assert energy_text(costs) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0, "$0.00"), (1e-9, "under $0.000001"), (0.00432, "$0.004320"), (0.1, "$0.10"), (1234.5, "$1,234.50")],
)
def test_money_as_text(dollars, text):
    assert usd_text(dollars) == text


# ── Since ──

NOON = datetime(2026, 11, 28, 12)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-01", datetime(2026, 11, 1)),
        ("7d", datetime(2026, 11, 21, 12)),
        ("36h", datetime(2026, 11, 27)),
        ("0h", NOON),
    ],
)
def test_the_time_since_which_runs_are_counted(text, time):
    assert since_time(text, NOON) == time.timestamp()


@pytest.mark.parametrize(
    "text", ["", "7", "-7d", "7 d", "٧d", "2026-13-01", "01.11.2026", "9" * 20 + "d", "yesterday"]
)
def test_what_is_no_time(text):
    with pytest.raises(InputError) as caught:
        since_time(text, NOON)
    assert "2026-11-01" in caught.value.hint
