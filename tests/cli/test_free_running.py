"""`paragone fidelity --free-running`: greedy answers beside distributions, with doubles."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from paragone_workbench.store import Store

from .conftest import data, paragone, said

pytestmark = pytest.mark.usefixtures("graded")


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Question {number}"}) + "\n" for number in range(4)))
    return str(path)


def fidelity(*argv: str):
    text = "--window", "512", "--free-running"
    return paragone("fidelity", *argv, *text)


def test_a_collapsed_engine_is_named_though_no_distribution_differs(prompts):
    done = fidelity("graded:exact", "graded:collapsed", "twin:exact", "--prompts", prompts)
    assert done.returncode == 0
    printed = done.stdout.decode()
    assert "collapsed: mean KLD 0" in printed
    assert "\nGreedy answers to 4 prompts\n" in printed
    (row,) = (line for line in printed.splitlines() if line.startswith("the same answer"))
    assert row.split()[3:] == ["0", "of", "4", "4", "of", "4"]
    assert (
        "collapsed has collapsed: 4 of the 4 prompts that exact answers soundly get a loop or no text."
        in printed
    )


def test_engines_without_distributions_still_answer_and_the_agreement_is_saved(prompts):
    done = fidelity("graded:mute", "graded:exact", "--prompts", prompts, "--json")
    assert done.returncode == 0
    assert "There is no comparison of distributions. mute reports neither" in said(done)
    found = data("fidelity", done)["free_running"]
    assert (found["prompts"], found["asked"], found["partial"]) == ("prompts.jsonl", 4, False)
    assert [it["engine"] for it in found["engines"]] == ["mute", "exact"]
    (exact,) = found["candidates"]
    assert (exact["prompts"], exact["collapsed"], exact["forks"]["unit"]) == (4, False, "character")
    assert exact["sentence"].startswith("exact gives the same greedy answer as mute to 4 of 4 prompts")
    assert found["notes"] == [
        f"{name} has no option `temperature`: whether its answers are greedy is unknown."
        for name in ("mute", "exact")
    ]
    with closing(Store.open()) as store:
        (saved,) = store.measurements.all("fidelity")
    assert saved.data["free_running"] == found
    done = fidelity(
        "graded:exact", "graded:rough", "--prompts", prompts, "--json", "--set", "rough.max_tokens=7"
    )
    engines = data("fidelity", done)["free_running"]["engines"]
    assert [(it["median_tokens"], it["cut"]) for it in engines] == [(200, 4), (7, 4)], "a user's limit holds"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--prompts", "{folder}/none.jsonl", "--free-running"], "none.jsonl"),
        (["--prompts", "{folder}/bad.jsonl", "--free-running"], "bad.jsonl:2: "),
        (["--prompts", "{folder}/bad.jsonl"], "--prompts needs --free-running"),
        (["--prompts", "{folder}/prompts.txt", "--free-running"], "names no format of a suite"),
    ],
)
def test_bad_prompts_are_refused_before_anything_is_measured(argv, sentence, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "Hi"}\n{"prompt": 3}\n')
    (tmp_path / "prompts.txt").write_text("Hi\n")
    words = [word.replace("{folder}", str(tmp_path)) for word in argv]
    done = paragone("fidelity", "scripted:a", "scripted:b", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert sentence in said(done)


def test_an_engine_that_does_not_open_is_said_once(prompts):
    done = fidelity("graded:missing", "graded:gone", "--prompts", prompts)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said(done).count("There is no model 'missing'") == 1
