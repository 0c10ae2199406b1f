from __future__ import annotations

import signal

import pytest
from tests.pictures import picture
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
    assert (first["engine"], second["engine"]) == (
        "SmolLM2-135M-Instruct.Q4_1",
        "SmolLM2-135M-Instruct.Q4_1-2",
    )
    assert first["text"] == second["text"]
    for lane in found["lanes"]:
        assert len(lane["text"]) > 20
        assert (lane["finish"], lane["error"]) == ("length", None)
        assert lane["usage"]["completion_tokens"] == 16
        assert all(lane["timings"][name] > 0 for name in ("load_s", "ttft_s", "prefill_tps", "decode_tps"))
        assert lane["timings"]["itl_ms"]["p50"] > 0


def test_answers_stand_below_their_engines():
    done = paragone("compare", "rogue:steady", "rogue:escapes", "--prompt", "hi", "--set", "max_tokens=2")
    assert (done.returncode, said(done)) == (0, "")
    first, second, _ = done.stdout.decode().split("\n\n── ")
    assert first.startswith("── steady (rogue) ───")
    assert first.splitlines()[1] == "word0 word1 "
    assert "2 tokens · " in first
    assert "Cut at max_tokens (2)." in first
    assert second.startswith("escapes (rogue) ───")
    assert "\x1b[31mred" in second  # to a pipe, exactly


def test_one_token_is_counted_in_the_singular():
    done = paragone("compare", "rogue:steady", "--prompt", "hi", "--set", "max_tokens=1")
    assert "1 token · " in done.stdout.decode()


def test_where_answers_part_from_the_first_one():
    argv = ("rogue:steady", "rogue:steady", "rogue:wide", "--prompt", "hi", "--set", "max_tokens=2")
    done = paragone("compare", *argv, "--json", "--logprobs", "0")
    assert data("compare", done)["divergence"] == [
        {"reference": "steady", "candidate": "steady-2", "token": None, "char": None},
        {"reference": "steady", "candidate": "wide", "token": 0, "char": 0},
    ]
    assert "divergence" not in data("compare", paragone("compare", *argv, "--json"))
    told = paragone("compare", *argv).stdout.decode()
    assert "steady-2 gives the same text as steady.\n" in told
    assert "wide parts from steady at character 0: it has “語0😀 語1😀 ” instead of “word0 word1 ”.\n" in told


def test_one_engine_has_no_divergence():
    done = paragone("compare", "rogue:steady", "--prompt", "hi", "--json", "--logprobs", "0")
    assert data("compare", done)["divergence"] == []


def test_engines_that_are_closed_by_then_are_compared_by_the_texts_of_their_tokens():
    argv = ("rogue:steady", "rogue:steady", "--prompt", "hi", "--set", "max_tokens=2", "--json")
    done = paragone("compare", *argv, "--logprobs", "0", "--schedule", "swap")
    (found,) = data("compare", done)["divergence"]
    assert (found["token"], found["char"]) == (None, None)


def test_a_failed_answer_parts_where_it_differs_only():
    argv = ("rogue:steady", "rogue:abort", "--prompt", "hi", "--set", "rate=50", "--json", "--logprobs", "0")
    (found,) = data("compare", paragone("compare", *argv))["divergence"]
    assert (found["token"], found["char"]) == (None, None), "as far as it came, it was the same"


@pytest.mark.model
def test_two_quantizations_part_at_the_token_where_their_texts_do(smol, smaller_smollm2):
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


def test_what_was_not_the_same_stands_below_the_answers():
    argv = (*TWICE, "--set", "max_tokens=2", "--set", "steady-2.max_tokens=3")
    done = paragone(*argv, "--set", "steady-2.context=90")
    assert (done.returncode, said(done)) == (0, "")
    *_, fair = done.stdout.decode().split("\n\n── ")
    title, verdict, context, sampling, *rest = fair.splitlines()
    assert title.startswith("Was it fair? ───")
    assert verdict == "1 condition was not the same:"
    assert sampling == "· max_tokens is 2 in steady and 3 in steady-2. To level it: --set max_tokens=2"
    assert context.startswith("≠ Context: 4096 in steady and 90 in steady-2. ")
    assert context.endswith("To level it: --set context=4096")
    assert rest[0].startswith("? steady does not report: ")
    assert rest[-1].startswith(
        "  Rounding depends on program, flash attention, batch size, K cache and V cache: "
    )


def test_nothing_that_differs_is_an_empty_list():
    argv = (*TWICE, "--set", "max_tokens=2", "--json")
    found = data("compare", paragone(*argv))
    assert found["parity"] == []
    assert list(found["parity_unknown"]) == ["steady", "steady-2"]
    assert "flash attention" in found["parity_unknown"]["steady"]
    different = data("compare", paragone(*argv, "--set", "steady-2.max_tokens=3"))["parity"]
    assert different == [
        {
            "what": "max_tokens",
            "lanes": {"steady": 2, "steady-2": 3},
            "sentence": "max_tokens is 2 in steady and 3 in steady-2. To level it: --set max_tokens=2",
            "expected": True,
        }
    ]


def test_an_option_of_an_engine_that_is_not_there(run_here):
    done = run_here("compare", "rogue:steady", "--prompt", "hi", "--set", "other.max_tokens=2")
    assert done.returncode == 2
    assert "has no option 'other.max_tokens'" in said(done)


def test_a_terminal_gets_them_cleaned(terminal):
    argv = ("compare", "rogue:escapes", "--prompt", "hi", "--set", "max_tokens=1")
    with running(*argv, stdout=terminal.theirs) as process:
        written = terminal.read(process).decode()
    assert "␛[31mred" in written
    assert "\x1b" not in written


def test_a_lane_that_fails_leaves_the_others_alone():
    argv = ("compare", "rogue:steady", "rogue:abort", "rogue:nothing", "--prompt", "hi", "--set", "rate=50")
    done = paragone(*argv, "--json")
    assert (done.returncode, said(done)) == (1, "")
    steady, abort, nothing = data("compare", done)["lanes"]
    assert (steady["finish"], steady["error"]) == ("length", None)
    assert len(steady["text"].split()) == 20
    assert abort["text"] == "word0 word1 word2 word3 word4 "
    assert abort["finish"] is None
    assert "SIGABRT" in abort["error"]
    assert "There is no model 'nothing'." in nothing["error"]
    plain = paragone(*argv)
    assert plain.returncode == 1
    assert plain.stdout.decode().count("\nfailed: ") == 2
    assert "word3 word4 \n" in plain.stdout.decode()


def test_an_engine_that_is_not_there_ends_it_before_it_begins(run_here):
    done = run_here("compare", "rogue:steady", "nothing", "--prompt", "hi")
    assert (done.returncode, done.stdout) == (2, b"")
    assert "There is no engine 'nothing'." in said(done)


def test_an_option_that_one_of_them_does_not_have(run_here):
    done = run_here("compare", "rogue:steady", "llama_cpp:/x.gguf", "--prompt", "hi", "--set", "rate=5")
    assert (done.returncode, done.stdout) == (2, b"")
    assert "The engine 'x' has no option 'rate'" in said(done)


def test_a_wrong_option_in_the_config_ends_it_before_it_begins(settings, run_here):
    settings("[engines.odd]\nbackend = 'rogue'\nmodel = 'steady'\nrate = 'fast'\n")
    done = run_here("compare", "rogue:steady", "odd", "--prompt", "hi")
    assert (done.returncode, done.stdout) == (2, b"")


def test_many_engines_one_in_memory_at_a_time():
    argv = ("--prompt", "hi", "--set", "max_tokens=2", "--schedule", "swap", "--json")
    done = paragone("compare", *["rogue:steady"] * 8, *argv)
    assert done.returncode == 0
    assert [lane["text"] for lane in data("compare", done)["lanes"]] == ["word0 word1 "] * 8


def test_auto_says_what_it_decided_and_why():
    argv = ("--prompt", "hi", "--set", "max_tokens=1", "--schedule", "auto")
    done = paragone("compare", "rogue:steady", "rogue:steady", *argv, "--set", "free=1000")
    assert done.returncode == 0
    assert said(done).startswith("paragone: Schedule swap. Together the engines need ")


def test_the_prompt_is_piped_in():
    done = paragone("compare", "rogue:steady", "--json", stdin="three small words\n")
    assert data("compare", done)["prompt"] == "three small words"


@pytest.mark.skipif(physical_cores() < 2, reason="one core is not shared")
def test_one_after_the_other_each_has_all_cores(settings):
    def threads(*more: str) -> list[str]:
        done = paragone(
            "compare",
            "rogue:threads",
            "rogue:threads",
            "--prompt",
            "hi",
            "--set",
            "max_tokens=1",
            "--json",
            *more,
        )
        return [lane["text"].strip() for lane in data("compare", done)["lanes"]]

    assert threads("--schedule", "sequential") == [str(physical_cores())] * 2
    settings("[lanes]\nmode = 'sequential'\n")
    assert threads() == [str(physical_cores())] * 2


def test_ctrl_c_prints_what_came():
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


def test_nothing_is_recorded(home):
    assert paragone("compare", "rogue:steady", "--prompt", "hi").returncode == 0
    assert not (home / "data").exists()


def test_one_image_for_those_that_see_it(tmp_path):
    path = str(picture(tmp_path / "cat.png"))
    argv = ("compare", "rogue:seeing", "rogue:steady", "--prompt", "hi", "--attach", path)
    done = paragone(*argv, "--set", "max_tokens=1", "--json")
    assert done.returncode == 1
    found = data("compare", done)
    assert found["images"] == ["cat.png"]
    seeing, steady = found["lanes"]
    assert (seeing["text"], seeing["error"]) == ("cat.png ", None)
    assert (steady["text"], steady["finish"]) == ("", None)
    assert steady["error"].startswith("steady does not accept images. ")
