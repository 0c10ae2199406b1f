"""`paragone history costs`, over runs in the user's history."""

import sys
import time
from contextlib import closing

import pytest
from tests.cli.conftest import data, paragone, said

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.ids import new_id
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store.store import Store

METRICS = RunMetrics(prompt_tokens=1_200_000, cached_tokens=200_000, completion_tokens=100_000)


def run(engine, started, metrics=METRICS):
    return RunResult(
        id=new_id(),
        definition=EngineDefinition(name=engine, backend="b", model="m"),
        started=started,
        ended=started + 61,
        waited_s=1.0,
        state="done",
        metrics=metrics,
    )


@pytest.fixture
def runs(home):
    """Two engines: the run of one was an hour ago, that of the other long ago."""
    now = time.time()
    with closing(Store.open()) as store:
        store.save_run(run("small", now - 3600), purpose="answer")
        store.save_run(
            run("old\x1b[2J", now - 10**6, RunMetrics(completion_tokens=5, estimated=True)), purpose="judge"
        )


def test_costs_are_printed_by_engine(runs):
    done = paragone("history", "costs")
    assert (done.returncode, said(done)) == (0, "")
    lines = done.stdout.decode().splitlines()
    table = [line.split() for line in lines[:4]]
    assert table[0] == ["ENGINE", "RUNS", "TOKENS", "IN", "FROM", "CACHE", "TOKENS", "OUT", "TIME"]
    assert table[1] == ["old␛[2J", "1", "0", "0", "5", "1:00"]
    assert table[2] == ["small", "1", "1,200,000", "200,000", "100,000", "1:00"]
    assert table[3] == ["total", "2", "1,200,000", "200,000", "100,005", "2:00"]
    assert lines[6].split() == ["ENGINE", "groq:llama-3.1-8b-instant", "anthropic:claude-sonnet-5-5"]
    assert all(len(line) <= 80 for line in lines[:10])
    assert "Tokens are missing in 1 of 2 runs" in done.stdout.decode()


def test_costs_of_a_time_span_are_printed_as_json(runs):
    done = paragone("history", "costs", "--since", "2h", "--price", "deepseek:deepseek-v4-pro", "--json")
    found = data("history costs", done)
    (small,) = found["engines"]
    assert (small["engine"], small["runs"], small["cached_tokens"]) == ("small", 1, 200_000)
    (model,) = found["prices"]["models"]
    in_usd = 1.2 * model["prompt_usd_per_million"] + 0.1 * model["completion_usd_per_million"]
    assert small["usd"] == {"deepseek:deepseek-v4-pro": pytest.approx(in_usd)}
    assert found["total"] == {name: value for name, value in small.items() if name != "engine"}
    assert time.time() - 7300 < found["since"] < time.time() - 7100


def test_without_runs_the_costs_are_zero(home):
    done = paragone("history", "costs")
    assert (done.returncode, done.stdout) == (0, b"")
    assert said(done) == "paragone: The history has no runs yet.\n"
    assert data("history costs", paragone("history", "costs", "--json"))["engines"] == []
    done = paragone("history", "costs", "--since", "2026-11-01")
    assert said(done) == "paragone: The history has no runs since 2026-11-01 00:00.\n"


@pytest.mark.parametrize("mistake", [("--since", "soon"), ("--price", "groq:nothing"), ("7d",)])
def test_mistakes_end_with_exit_code_2(home, mistake):
    done = paragone("history", "costs", *mistake)
    assert done.returncode == 2
    assert mistake[-1].rpartition(":")[2] in said(done)


def test_without_the_price_package_tokens_and_times_are_printed(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.delitem(sys.modules, "genai_prices.data_snapshot", raising=False)
    done = paragone("history", "costs", "--json")
    assert "need the package genai-prices, which is not installed. Install it with: " in said(done)
    assert "'genai-prices<0.3,>=0.2.3'" in said(done)
    found = data("history costs", done)
    assert (found["prices"], found["total"]["usd"], found["total"]["runs"]) == (None, {}, 2)
