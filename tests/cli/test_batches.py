"""`paragone suite export` and `suite import`, with a test double for the batch service."""

import json
from pathlib import Path

import pytest

from .conftest import data, paragone, said

BIG = "openai:org/big@http://127.0.0.1:9/v1"


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    checks = [{"type": "contains", "value": "X"}]
    path.write_text("".join(json.dumps({"prompt": it, "assertions": checks}) + "\n" for it in "xy"))
    return str(path)


def answered(request, **more):
    """The result of a request: a test double of a batch service, which answers in capitals."""
    text = request["body"]["messages"][-1]["content"].upper()
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], **more}
    return (
        json.dumps({"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}}) + "\n"
    )


def test_a_suite_is_exported_and_its_answers_imported(prompts, tmp_path):
    batch, results = tmp_path / "batch.jsonl", tmp_path / "results.jsonl"
    command = (
        "suite", "export", prompts, "--engines", BIG, "scripted:a", "--set", "big.top_k=5", "--to", str(batch), "--json"
    )  # fmt: skip
    done = paragone(*command)
    assert data("suite export", done) == {
        "id": "e1",
        "files": [{"file": str(batch), "engine": "big", "requests": 2, "left_out": ["top_k"]}],
    }
    assert "paragone: a loads its model on this machine, so `paragone suite run` runs it." in said(done)
    assert (
        "warning: A batch has no field for these options of big: top_k. These options do not apply."
        in said(done)
    )
    assert f"{batch} exists already." in said(paragone(*command))
    assert paragone(*command, "--force").returncode == 0
    requests = [json.loads(line) for line in batch.read_text().splitlines()]
    results.write_text("".join(map(answered, requests)) + "nothing\n")
    done = paragone("suite", "import", str(results), "--json")
    assert done.returncode == 1
    assert "warning: results.jsonl:3: This is not valid JSON" in said(done)
    assert data("suite import", done) == {
        "id": "e1", "answers": 2, "errors": 0, "known": 0, "refused": 1, "left": 2,
    }  # fmt: skip
    shown = data("suite show", paragone("suite", "show", "e1", "--json"))
    assert [it["assertions"][0]["passed"] for it in shown["runs"]] == [True, False]
    done = paragone("suite", "import", str(results))
    assert "Imported: 0 answers, 0 failed requests. Known before: 2. Not imported: 1 line." in said(done)
    assert done.stdout.decode().splitlines()[1].split()[:7] == ["big", "2", "0", "1", "of", "2", "–"]
    batch.unlink()
    assert "paragone: big has no unfinished runs; no file is written.\n" in said(paragone(*command))
    assert not batch.exists()


def test_a_batch_of_only_local_engines_is_refused(prompts, tmp_path):
    to = str(tmp_path / "batch.jsonl")
    done = paragone("suite", "export", prompts, "--engines", "scripted:a", "-o", to)
    assert done.returncode == 2
    assert "All these engines load their models on this machine" in said(done)
    assert json.loads(paragone("suite", "list", "-j").stdout) == {"experiments": []}


def test_results_of_another_program_are_compared(tmp_path):
    written = Path(__file__).parents[1] / "workbench" / "harness_results"
    logs = [str(written / f"inspect_{name}.json") for name in ("first", "second")]
    done = paragone("suite", "import", *logs, "--json")
    assert done.returncode == 0
    assert data("suite import", done) == {
        "id": "e1", "answers": 16, "errors": 0, "known": 0, "refused": 0, "left": 0,
    }  # fmt: skip
    assert "Known before: 16." in said(paragone("suite", "import", *logs))
    compared = data("suite compare", paragone("suite", "compare", "e1", "--json"))
    assert [(it["engine"], it["means"][0]["mean"]) for it in compared["engines"]] == [
        ("mockllm/first", 0.25),
        ("mockllm/second", 0.125),
    ]
    assert paragone("report", "e1", "--to", str(tmp_path / "report.html")).returncode == 0
    assert "it has no manifest, so its options are unknown" in said(paragone("replay", "e1"))
