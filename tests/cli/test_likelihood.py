"""Multiple choice in suites, over the real model, beside a loop over llama.cpp's functions."""

import json

import pytest

from .conftest import data, paragone, said
from .test_fidelity_of_conversations import Loop, chatml

QUESTION = "Question: Which planet is closest to the Sun?\nAnswer:"
CHOICES = ["Venus", "the red planet Mars", "Mercury"]


@pytest.mark.model
def test_the_most_likely_choice_is_the_answer(tmp_path, smollm2):
    checks = [{"type": "likelihood"}, {"type": "likelihood", "normalized": True}]
    entry = {
        "system": "Be brief.",
        "prompt": QUESTION,
        "choices": CHOICES,
        "expected": 1,
        "assertions": checks,
    }
    path = tmp_path / "suite.jsonl"
    path.write_text(json.dumps(entry))
    options = ("--set", "n_ctx=512", "--set", "flash_attn=off")
    done = paragone("suite", "run", str(path), "--engines", f"llama_cpp:{smollm2}", *options, "--json")
    (run,) = data("suite run", done)["runs"]

    loop = Loop(smollm2)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    prompt = chatml(messages) + "<|im_start|>assistant\n"
    before = len(loop.encode(prompt))

    def log_probability(choice):
        ids = loop.encode(prompt + choice)
        rows = loop.log_probabilities(ids[:-1])[before - 1 :]
        return sum(row[token] for row, token in zip(rows, ids[before:], strict=True))

    raw = {choice: log_probability(choice) for choice in CHOICES}
    assert run["text"] == max(raw, key=raw.get), said(done)
    for values, check in zip((raw, {it: raw[it] / len(it) for it in raw}), run["assertions"], strict=True):
        best = max(values, key=values.get)
        assert check["passed"] == (best == CHOICES[1])
        assert check["reason"].startswith(f"The most likely choice is {best!r}, with the log-probability ")
        shown = float(check["reason"].partition("log-probability ")[2].split()[0].rstrip(";."))
        assert shown == pytest.approx(values[best], rel=0.01)


def test_an_engine_without_log_probabilities_fails_with_this_reason(tmp_path):
    path = tmp_path / "suite.jsonl"
    path.write_text(json.dumps({"prompt": "Blue?", "choices": ["yes", "no"], "expected": "yes"}))
    done = paragone("suite", "run", str(path), "--engines", "scripted:a", "--json")
    (run,) = data("suite run", done)["runs"]
    assert run["assertions"] == []
    assert run["error"].startswith("a cannot compute the log-probabilities of choices.")
