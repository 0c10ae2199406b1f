"""Costs: sums over the history in SQL, the same over runs in memory, prices, and the time from which on runs are counted."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import pytest
from tests.workbench.history_file import rows

from paragone import InputError
from paragone_cli.history import since_time
from paragone_workbench.costs import cost_notes, price_list, usd_text
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.ids import new_id
from paragone_workbench.paths import history_file
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import MOST_TOKENS, Costs, RunResult
from paragone_workbench.store import runs as table

COUNTED = RunMetrics(prompt_tokens=30, cached_tokens=10, completion_tokens=5)


def run(engine="small", metrics: RunMetrics | None = COUNTED, **fields):
    known = {"started": 100.0, "ended": 106.0, "waited_s": 2.0, "state": "done", **fields}
    definition = EngineDefinition(name=engine, backend="paper", model="m")
    return RunResult(id=new_id(), definition=definition, metrics=metrics, **known)


RUNS = (
    run(),
    run(),
    run(metrics=replace(COUNTED, prompt_tokens=None, cached_tokens=None, estimated=True)),
    run("large\x1b[2J", metrics=replace(COUNTED, prompt_tokens=10**400, completion_tokens=-7)),
    run("large\x1b[2J", metrics=replace(COUNTED, prompt_tokens=MOST_TOKENS, completion_tokens=MOST_TOKENS)),
    run("large\x1b[2J", waited_s=None),  # written by an earlier version
    run("large\x1b[2J", ended=90.0),  # the clock was set back
    run("broken", None, state="interrupted", ended=None),
    run("broken", None, state="failed", waited_s=None),  # its engine could not be opened
    run("running", state="running"),
)


def by_engine(results):
    names = dict.fromkeys(result.definition.name for result in results)
    sums = {name: Costs.total(Costs.of(it) for it in results if it.definition.name == name) for name in names}
    return {name: costs for name, costs in sums.items() if costs.runs}


def save(store, *results):
    for result in results:
        store.save_run(result, purpose="answer")


def test_the_table_of_runs_gives_the_same_sums_as_the_runs(store):
    save(store, *RUNS)
    in_memory = by_engine(RUNS)
    assert store.costs() == in_memory
    assert list(store.costs()) == sorted(in_memory)
    small, large = in_memory["small"], in_memory["large\x1b[2J"]
    assert (small.runs, small.prompt_tokens, small.estimated, small.uncounted) == (3, 60, 1, 1)
    assert (large.runs, large.uncounted, large.prompt_tokens) == (4, 1, MOST_TOKENS + 60)


def test_damaged_rows_do_not_affect_sums(store):
    save(store, run(metrics=replace(COUNTED, decode_tps=float("nan"))), run())
    assert store.costs()["small"].runs <= 2
    assert rows("SELECT count(*) FROM run") == [(2,)]
    with closing(sqlite3.connect(history_file())) as raw:
        raw.execute("UPDATE run SET result = '{' WHERE number = 1")
        raw.commit()
        assert store.costs()["small"].runs == 1
        raw.execute("UPDATE run SET engine = x'ff' WHERE number = 2")
        raw.commit()
    assert {name: costs.runs for name, costs in store.costs().items()} == {"?": 1}


def test_sums_are_computed_from_the_index_only(store):
    """So they need neither texts nor JSON: a million runs are an index of about 60 MB. Only the runs of deleted
    conversations are looked up elsewhere."""
    sums = table._COSTS.replace(table._DELETED, "SELECT 0").replace("?", "0")
    steps = rows(f"EXPLAIN {sums}")
    opened = {cursor: root for _, step, cursor, root, *_ in steps if step == "OpenRead"}
    read = {opened[cursor] for _, step, cursor, *_ in steps if step == "Column" and cursor in opened}
    assert read == {rows("SELECT rootpage FROM sqlite_master WHERE name = 'run_costs'")[0][0]}
    assert not [step for step in steps if "json" in str(step)]


# ── Prices ──


def test_notes_report_missing_and_estimated_tokens():
    assert cost_notes(Costs.total(map(Costs.of, RUNS)), ()) == [
        "Tokens are missing in 3 of 8 runs, where the engine did not report them.",
        "Tokens out are estimated in 1 of 8 runs: the engine did not count them, so its pieces "
        "of text are counted.",
    ]
    assert cost_notes(Costs.of(RUNS[0]), ()) == []
    (note,) = cost_notes(Costs(), price_list())
    assert re.match(
        r"Prices come from the list in genai-prices \d+\.\d+\.\d+, whose last change took effect on \d{4}-\d\d-\d\d\. ",
        note,
    )


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0, "$0.00"), (1e-9, "under $0.000001"), (0.00432, "$0.004320"), (0.1, "$0.10"), (1234.5, "$1,234.50")],
)
def test_sums_of_money_are_rounded(dollars, text):
    assert usd_text(dollars) == text


def test_many_short_prompts_do_not_have_the_higher_price_of_a_long_prompt():
    """The list has a higher price for prompts of this model that are long; many short ones are none."""
    (price,) = price_list(["anthropic:claude-haiku-5-5"])
    assert price.of(Costs(prompt_tokens=10**6)) == pytest.approx(1000 * price.of(Costs(prompt_tokens=10**3)))
    from genai_prices import Usage, calc_price

    long = calc_price(Usage(input_tokens=10**6, output_tokens=0), price.model, provider_id=price.provider)
    assert price.of(Costs(prompt_tokens=10**6)) < float(long.total_price)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("groq", "such as groq:llama-3.1-8b-instant"),
        ("grok:x", "x-ai:grok"),
        ("groq:llama-3.1-8b", "for example: groq:llama-3.1-8b-instant"),
    ],
)
def test_unknown_models_of_the_price_list_are_refused(name, hint):
    with pytest.raises(InputError) as caught:
        price_list([name])
    assert caught.value.message == f"The price list has no model {name!r}."
    assert hint in caught.value.hint


@pytest.mark.thorough
def test_prices_come_from_the_package_without_a_download():
    """Python refuses this process every socket and every look-up of a name."""
    program = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(event)

sys.addaudithook(refuse)
from paragone_workbench.costs import cost_notes, price_list
from paragone_workbench.runs.result import Costs
assert len(cost_notes(Costs(), price_list())) == 1
import threading
assert threading.active_count() == 1  # none that fetches later
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
def test_a_time_span_is_parsed(text, time):
    assert since_time(text, NOON) == time.timestamp()


@pytest.mark.parametrize("text", ["", "7", "-7d", "٧d", "2026-13-01", "9" * 20 + "d"])
def test_invalid_time_spans_are_refused(text):
    with pytest.raises(InputError) as caught:
        since_time(text, NOON)
    assert "2026-11-01" in caught.value.hint
