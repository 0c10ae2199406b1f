import signal

import pytest
from tests.processes import engines_of

from paragone.threads import physical_cores

from .conftest import all_gone, data, paragone, running, said

TWICE = ("compare", "rogue:steady", "rogue:steady", "--prompt", "hi", "--schedule", "sequential")
"""One engine twice, each with the same number of threads."""


@pytest.mark.model
def test_two_real_engines_answer_one_prompt(smol):
    done = paragone("compare", smol[0], *smol, "--prompt", "Name three colours.", "--json")
    assert (done.returncode, said(done)) == (0, "")
    found = data("compare", done)
    assert found["prompt"] == "Name three colours."
    first, second = found["lanes"]
    assert second["engine"] == f"{first['engine']}-2" == "SmolLM2-135M-Instruct.Q4_1-2"
    assert first["text"] == second["text"]
    for lane in found["lanes"]:
        assert len(lane["text"]) > 20
        assert (lane["finish"], lane["error"]) == ("length", None)
        assert lane["usage"]["completion_tokens"] == 16
        assert all(lane["timings"][name] > 0 for name in ("load_s", "ttft_s", "prefill_tps", "decode_tps"))
        assert lane["timings"]["itl_ms"]["p50"] > 0


def test_answers_are_printed_below_their_engines():
    done = paragone("compare", "rogue:steady", "rogue:escapes", "--prompt", "hi", "--set", "max_tokens=2")
    assert (done.returncode, said(done)) == (0, "")
    first, second, _ = done.stdout.decode().split("\n\n── ")
    assert first.startswith("── steady (rogue) ───")
    assert first.splitlines()[1] == "word0 word1 "
    assert "2 tokens · " in first
    assert "Cut at max_tokens (2)." in first
    assert second.startswith("escapes (rogue) ───")
    assert "\x1b[31mred" in second  # to a pipe, exactly


def test_the_divergence_from_the_first_answer_is_printed(home):
    # in parallel, a lane that begins when another has ended would get more threads
    options = ("--set", "max_tokens=2", "--schedule", "sequential")
    argv = ("rogue:steady", "rogue:steady", "rogue:wide", "--prompt", "hi", *options)
    done = paragone("compare", *argv, "--json", "--logprobs", "0")
    assert data("compare", done)["divergence"] == [
        {"reference": "steady", "candidate": "steady-2", "token": None, "char": None},
        {"reference": "steady", "candidate": "wide", "token": 0, "char": 0},
    ]
    other = data("compare", paragone("compare", *argv, "--json", "--set", "wide.max_tokens=3"))
    assert "divergence" not in other
    assert [(it["what"], it["lanes"], it["expected"]) for it in other["parity"]] == [
        ("max_tokens", {"steady": 2, "steady-2": 2, "wide": 3}, False)
    ]
    assert "flash attention" in other["parity_unknown"]["steady"]
    told = paragone("compare", *argv).stdout.decode()
    assert "steady-2 gives the same text as steady.\n" in told
    assert (
        "wide diverges from steady at character 0: it has “語0😀 語1😀 ” instead of “word0 word1 ”.\n" in told
    )
    assert not (home / "data").exists(), "nothing is recorded"


@pytest.mark.model
def test_two_quantizations_diverge_in_tokens_where_their_texts_do(smol, smaller_smollm2):
    argv = (smol[0], f"llama_cpp:{smaller_smollm2}", *smol[1:], "--prompt", "Tell a story.")
    found = data("compare", paragone("compare", *argv, "--json", "--logprobs", "2"))
    first, second = found["lanes"]
    (parting,) = found["divergence"]
    token, char = parting["token"], parting["char"]
    assert first["text"][:char] == second["text"][:char]
    assert first["text"][char] != second["text"][char]
    pieces = [[it["text"] for it in lane["tokens"]] for lane in (first, second)]
    before = "".join(pieces[0][:token])
    assert before == "".join(pieces[1][:token])
    assert len(before) <= char < len(before + max(pieces[0][token], pieces[1][token], key=len))
    assert first["tokens"][token]["id"] != second["tokens"][token]["id"]


def test_different_conditions_are_printed_below_the_answers():
    argv = (*TWICE, "--set", "max_tokens=2", "--set", "steady-2.max_tokens=3")
    done = paragone(*argv, "--set", "steady-2.context=90")
    assert (done.returncode, said(done)) == (0, "")
    *_, fair = done.stdout.decode().split("\n\n── ")
    title, verdict, sampling, context, *rest = fair.splitlines()
    assert title.startswith("Was it fair? ───")
    assert verdict == "Asked differently: 2 conditions differ."
    assert sampling == "≠ max_tokens is 2 in steady and 3 in steady-2. To level it: --set max_tokens=2"
    assert context.startswith("≠ Context: 4096 in steady and 90 in steady-2. ")
    assert context.endswith("To level it: --set context=4096")
    assert rest[0].startswith("? steady does not report: ")
    assert rest[-1].startswith(
        "  Rounding depends on program, flash attention, batch size, K cache and V cache: "
    )


def test_a_failing_lane_does_not_affect_the_others():
    engines = ("rogue:cautious", "rogue:abort", "rogue:nothing", "rogue:raises")
    options = ("--set", "rate=500", "--set", "raises.at=0")
    done = paragone("compare", *engines, "--prompt", "hi", *options, "--json")
    assert (done.returncode, said(done)) == (1, "")
    cautious, abort, nothing, raises = data("compare", done)["lanes"]
    assert (cautious["finish"], cautious["error"], cautious["seed"]) == ("length", None, None)
    assert cautious["warnings"] == [{"code": "test", "sentence": "This engine fails on cue."}]
    assert cautious["sampling"] == {"max_tokens": 20, "rate": 500.0, "prefill_s": 0.0, "at": 5}
    assert len(cautious["text"].split()) == 20
    assert abort["text"] == "word0 word1 word2 word3 word4 "
    assert abort["finish"] is None
    assert "SIGABRT" in abort["error"]
    assert "There is no model 'nothing'." in nothing["error"]
    assert raises["error"] == "The engine failed: RuntimeError: the kernel image is unhappy."
    counts = [
        [lane["usage"][name] for name in ("prompt_tokens", "completion_tokens", "pieces")]
        for lane in (cautious, abort, nothing, raises)
    ]
    assert counts == [[2, 20, 20], [2, 5, 5], [None, None, None], [2, 0, 0]]
    assert abort["timings"]["ttft_s"] > 0
    assert (
        raises["timings"]["itl_ms"] == nothing["timings"]["itl_ms"] == {"p50": None, "p95": None, "p99": None}
    )


def test_swap_keeps_one_engine_in_memory_at_a_time():
    argv = ("--prompt", "hi", "--set", "max_tokens=2", "--schedule", "swap", "--json")
    done = paragone("compare", *["rogue:steady"] * 3, *argv, "--logprobs", "0")
    assert done.returncode == 0
    found = data("compare", done)
    assert [lane["text"] for lane in found["lanes"]] == ["word0 word1 "] * 3
    assert [it["token"] for it in found["divergence"]] == [None, None], (
        "compared by the texts of their tokens"
    )


def test_auto_prints_its_decision_and_the_reason():
    argv = ("--prompt", "hi", "--set", "max_tokens=1", "--schedule", "auto")
    done = paragone("compare", "rogue:steady", "rogue:steady", *argv, "--set", "free=1000")
    assert done.returncode == 0
    assert said(done).startswith("paragone: Schedule swap. Together the engines need ")


@pytest.mark.skipif(physical_cores() < 2, reason="one core is not shared")
def test_sequential_engines_get_all_cores(settings):
    argv = ("rogue:threads", "rogue:threads", "--prompt", "hi", "--set", "max_tokens=1", "--json")

    def threads(*more: str) -> list[str]:
        found = data("compare", paragone("compare", *argv, *more))
        return [lane["text"].strip() for lane in found["lanes"]]

    assert threads("--schedule", "sequential") == [str(physical_cores())] * 2
    settings("[lanes]\nmode = 'sequential'\n")
    assert threads() == [str(physical_cores())] * 2


def test_ctrl_c_prints_the_text_so_far():
    argv = ("compare", "rogue:steady", "rogue:steady", "--prompt", "hi", "--json")
    with running(*argv, "--set", "max_tokens=10000000", "--set", "rate=50") as process:
        engines: list = []
        while len(engines) < 2:
            engines = engines_of(process.pid)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, b"")
    assert b'"cancelled"' in output
    assert all_gone(engines)
