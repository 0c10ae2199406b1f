"""`paragone fidelity --suite`: over the real model, beside a loop over llama.cpp's functions, and over doubles."""

import contextlib
import json
import math
import signal
import statistics
from collections import defaultdict
from collections.abc import Sequence
from ctypes import c_float, c_int8, c_int32
from pathlib import Path

import numpy as np
import pytest

from paragone import OpenRequest
from paragone_llama_cpp.c_api import Batch, lib
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions
from paragone_llama_cpp.model import open_model
from paragone_workbench.store import Store

from .conftest import data, paragone, said
from .test_serve import serving

pytestmark = pytest.mark.model

SYSTEM = "You are a cook."
CONVERSATIONS = {
    "leek": [("What goes with leek?", "Potatoes, cream and bacon."), ("And with beet?", "Goat cheese.")],
    "rice": [("How long does rice take?", "Eighteen minutes, with the lid on."), ("Brown rice?", "Forty.")],
    "soup": [("What makes a soup thick?", "Potatoes, flour, or cream at the end.")],
    "eggs": [("How do I boil an egg?", "In boiling water, for six minutes."), ("Harder?", "Ten minutes.")],
    "bread": [("Why is my bread flat?", "It rose too long, or the oven was too cold when you put it in.")],
}


def entries():
    """The turns of the conversations, each with the recorded past."""
    for name, turns in CONVERSATIONS.items():
        past = []
        for question, answer in turns:
            past.append({"role": "user", "content": question})
            yield {
                "system": SYSTEM,
                "messages": [*past],
                "answer": answer,
                "conversation": name,
                "tags": [name[0]],
            }
            past.append({"role": "assistant", "content": answer})


def chatml(messages):
    return "".join(f"<|im_start|>{it['role']}\n{it['content']}<|im_end|>\n" for it in messages)


class Loop:
    """llama.cpp's functions, called without the backend's own loop."""

    def __init__(self, path) -> None:
        options = LlamaCppLoadOptions(n_threads=1, n_ctx=512, flash_attn="off")
        self._model = open_model(OpenRequest(model=str(path)), options, lambda _: None, False)
        self._model.open_context()
        self.encode = self._model.vocab.tokenize

    def log_probabilities(self, ids: Sequence[int]):
        """A row for each token: the log-probabilities of the token after it."""
        context = self._model.context.pointer
        rows = []
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        for first in range(0, len(ids), 32):
            part = ids[first : first + 32]
            batch = Batch(n_tokens=len(part), token=(c_int32 * len(part))(*part))
            batch.logits = (c_int8 * len(part))(*[1] * len(part))
            assert lib.llama_decode(context, batch) == 0
            for at in range(len(part)):
                address = lib.llama_get_logits_ith(context, at)
                row = np.array((c_float * self._model.vocab.size).from_address(address), np.float64)
                rows.append(row - row.max() - math.log(np.exp(row - row.max()).sum()))
        return np.array(rows)


def by_hand(reference, candidate):
    """The figures of each conversation: KL divergences, equal choices, differences of log-losses, and these
    without the ends of the answers."""
    found = defaultdict(list)
    for entry in entries():
        system = {"role": "system", "content": entry["system"]}
        prompt = chatml([system, *entry["messages"]]) + "<|im_start|>assistant\n"
        before = len(reference.encode(prompt))
        ids = reference.encode(prompt + entry["answer"] + "<|im_end|>")  # the end of the answer is scored
        p, q = (model.log_probabilities(ids[:-1])[before - 1 :] for model in (reference, candidate))
        kld = (np.exp(p) * (p - q)).sum(axis=1)
        following = np.arange(len(p)), ids[before:]
        same = p.argmax(axis=1) == q.argmax(axis=1)
        losses = p[following] - q[following]
        without_end = np.where(np.arange(len(p)) < len(p) - 1, losses, 0)
        found[entry["conversation"]].append((kld, same, losses, without_end))
    return [tuple(map(np.concatenate, zip(*turns, strict=True))) for turns in found.values()]


OPTIONS = ("--set", "n_threads=1", "--set", "n_ctx=512", "--set", "flash_attn=off")


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries()))
    return str(path)


@pytest.fixture
def engines(smol, smaller_smollm2):
    return smol[0], f"llama_cpp:{smaller_smollm2}"


def test_recorded_answers_agree_with_a_loop_over_the_c_api_to_one_percent(engines, suite):
    done = paragone("fidelity", *engines, "--suite", suite, "--answers", "recorded", "--json", *OPTIONS)
    found = data("fidelity", done)
    assert (done.returncode, said(done)) == (0, "")
    (ours,) = found["candidates"]
    expected = by_hand(*(Loop(engine.partition(":")[2]) for engine in engines))
    for at, (name, error) in enumerate(
        (("mean_kld", "mean_kld_se"), ("top1_agreement", "top1_se"), ("log_ppl_ratio", "log_ppl_ratio_se"))
    ):
        values = [units[at] for units in expected]
        assert ours[name] == pytest.approx(np.concatenate(values).mean(), rel=0.01)
        # the jackknife's error, with the conversations as units
        without = [np.concatenate([*values[:one], *values[one + 1 :]]).mean() for one in range(5)]
        assert ours[error] == pytest.approx(2 * statistics.pstdev(without), rel=0.01)
    assert (found["windows"], found["tokens_scored"]) == (5, sum(len(units[0]) for units in expected))
    about = {"name": "own.jsonl", "answers": "recorded", "turns": 8, "scored": 8, "skipped": 0}
    assert found["suite"] == about
    worst = sorted((kld for units in expected for kld in units[0]), reverse=True)[:10]
    assert [place["kld"] for place in ours["places"]] == pytest.approx(worst, rel=0.01)
    assert sum(tag["tokens"] for tag in ours["by_tag"]) == found["tokens_scored"]


def test_the_references_own_answers_are_scored(smol, engines, tmp_path):
    suite = tmp_path / "own.jsonl"
    suite.write_text("".join(json.dumps({"prompt": f"Tell me about {it}."}) + "\n" for it in CONVERSATIONS))
    reference, candidate = engines
    done = paragone("fidelity", reference, reference, candidate, "--suite", str(suite), *smol[1:])
    assert done.returncode == 0
    printed = done.stdout.decode()
    assert " tokens of 5 greedy answers in 5 of 5 conversations\n" in printed
    (row,) = (line for line in printed.splitlines() if line.startswith("never another token"))
    assert "5 of 5 answers" in row
    with contextlib.closing(Store.open()) as store:
        (saved,) = store.measurements.all("fidelity")
    found = json.loads(json.dumps(saved.data))
    same, other = found["candidates"]
    assert (same["mean_kld"], same["divergence"]["never"]) == (0, 5)
    assert other["mean_kld"] > found["noise"]["mean_kld"]
    assert other["places"][0]["question"].startswith("Tell me about ")


def test_a_server_that_repeats_answers_with_log_probabilities_is_compared_by_them(engines, suite, settings):
    reference, candidate = engines
    with serving(candidate, "--no-key", *OPTIONS) as (process, address, _):
        name = Path(candidate).stem
        settings(f'[engines.served]\nbackend = "openai"\nmodel = "{name}"\nurl = "{address}"\n')
        options = [word.replace("n_", f"{Path(reference).stem}.n_") for word in OPTIONS[:4]]
        done = paragone(
            *("fidelity", reference, "served", "--suite", suite, "--answers", "recorded", "--json", *options)
        )
        process.send_signal(signal.SIGINT)
        process.wait(60)
    found = data("fidelity", done)
    (served,) = found["candidates"]
    assert (done.returncode, served["mean_kld"]) == (0, None)
    assert "reports only the log-probabilities of given answers" in served["reason"]
    expected = by_hand(*(Loop(engine.partition(":")[2]) for engine in engines))
    total = sum(units[3].sum() for units in expected)
    assert served["log_ppl_ratio"] * found["tokens_scored"] == pytest.approx(total, rel=0.01)
