"""`paragone fidelity`: over doubles of two backends, and over the real SmolLM2."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paragone_workbench.measure.fidelity import sample_text
from paragone_workbench.store import Store
from paragone_workbench.store.votes import Measurement

from .conftest import data, paragone, running, said, until

TEXT = " ".join(f"word{number * number % 97}" for number in range(100))


pytestmark = pytest.mark.usefixtures("graded")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def fidelity(text: Path, *argv: str) -> subprocess.CompletedProcess[bytes]:
    return paragone("fidelity", *argv, "--text", str(text), "--window", "16")


def test_json_has_all_measurements(text):
    done = fidelity(text, "graded:jittery", "twin:rough", "graded:foreign", "graded:tops", "--json")
    found = data("fidelity", done)
    assert (done.returncode, said(done), found["noise"]["windows"]) == (0, "", 1)
    assert (found["window"], found["windows"], found["tokens_scored"], found["partial"]) == (16, 6, 42, False)
    assert found["reference"]["engine"] == "jittery"
    assert found["reference"]["ppl"] > 1
    rough, foreign, tops = found["candidates"]
    assert rough["mean_kld"] > 10 * found["noise"]["mean_kld"] > 0
    assert 0 < rough["top1_agreement"] <= 1
    assert rough["median_kld"] is None  # there are fewer than 100 positions
    assert (foreign["mean_kld"], tops["mean_kld"], tops["ppl"]) == (None, None, None)
    assert "different vocabularies" in foreign["reason"]
    assert tops["top_k"]["k"] == 10
    (saved,) = measurements()
    assert (saved.data, found["free_running"], found["text"]) == (found, None, "text.txt")
    assert [(it.backend, it.model) for it in saved.engines[:2]] == [("graded", "jittery"), ("twin", "rough")]


def test_the_text_has_tables_charts_and_verdicts(text):
    argv = ("graded:exact", "graded:jittery", "twin:rough", "graded:tops", "graded:foreign", "--kv", "q4")
    done = fidelity(text, *argv)
    assert (done.returncode, said(done)) == (0, "")
    printed = done.stdout.decode()
    lines = printed.splitlines()
    assert printed.startswith("Reference exact: 42 tokens scored in 6 of 6 windows of 16 tokens\n")
    names = "exact noise floor jittery rough tops foreign exact KV q4"
    assert lines[2].split() == names.split()
    (row,) = (line for line in lines if line.startswith("mean KLD  "))
    assert len(row.split(" ± ")) == 4, "the noise is exactly 0, and of two there is none"
    (row,) = (line for line in lines if line.startswith("on the scale"))
    assert row.split()[3:] == ["tiny", "tiny", "noticeable", "small"]
    assert "\nMean KLD by size\n" in printed
    assert "█" in printed
    depth = printed.split("Mean KLD by the number of tokens before\n")[1].splitlines()
    assert depth[0].split() == ["9–10", "11–12", "13–14", "15"]
    assert [line.split("  ")[0] for line in depth[1:4]] == ["jittery", "rough", "exact KV q4"]
    said_of = {line.partition(":")[0]: line for line in depth[5:]}
    verdict = next(line for line in depth if line.startswith("rough: mean KLD "))
    assert "and exact does not differ from itself; picks another top token at" in verdict
    assert said_of["rough"].startswith(
        "rough: the KLD grows with the depth in the context, from 0.0576 after 9 to 10 tokens to "
    )
    assert said_of["rough"].endswith(" after 15.")
    assert said_of["tops"].startswith("tops: picks the top token of exact at 100.0% of the positions")
    assert " bits per byte, exact " in said_of["foreign"]
    assert any(line.endswith("The top 10 tokens are compared.") for line in depth)
    assert any(
        line.startswith("foreign and exact have different vocabularies, so there is no") for line in depth
    )
    first, second = (line for line in depth if " is closer than " in line)
    assert first.startswith("jittery is closer than exact KV q4: by ")
    assert second.startswith("exact KV q4 is closer than rough: by ")
    assert lines[-1] == (
        "Scale of the mean KLD: tiny below 0.01, small below 0.05, noticeable below 0.2, large below 0.5, else another "
        "model."
    )


def test_without_a_text_the_built_in_one_is_used():
    done = paragone("fidelity", "graded:exact", "twin:rough", "--json", "--window", "700")
    assert done.returncode == 0
    assert said(done).startswith("paragone: The built-in text is short, so the uncertai")
    assert data("fidelity", done)["windows"] == 2


def test_few_windows_leave_the_uncertainty_unknown_with_a_note(text):
    text.write_text(" ".join(TEXT.split()[:50]))
    done = fidelity(text, "graded:exact", "twin:rough", "--max-kld", "9")
    assert (done.returncode, "limit" in said(done)) == (0, False)
    printed = done.stdout.decode()
    assert "\nThe uncertainties are unknown: they need 4 windows or more.\n" in printed
    assert "±" not in printed


def test_a_window_beyond_the_context_is_refused(text):
    text.write_text("word " * 4000)
    done = paragone("fidelity", "graded:exact", "graded:rough", "--text", str(text), "--window", "2000")
    assert done.returncode == 2
    assert "The sequence exceeds the context." in said(done)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9 " * 9, "not text in UTF-8: byte 4 does not belong there.\nConvert it: iconv -f LATIN1"),
        ("caf\u00e9 ".encode("utf-16") * 9, "\nConvert it: iconv -f UTF-16"),
        (None, "cannot be read: No such file"),
        ("pipe", "text.txt is not a regular file.\nName a text file."),
        (2**26 + 1, "text.txt is larger than 64 MiB.\nName a text file."),
    ],
    ids=str,
)
def test_unusable_texts_are_refused(tmp_path, content, message):
    path = tmp_path / "text.txt"
    match content:
        case bytes():
            path.write_bytes(content)
        case int():
            path.touch()
            os.truncate(path, content)  # a hole, which takes no space
        case "pipe":
            os.mkfifo(path)
    done = paragone("fidelity", "scripted:a", "scripted:b", "--text", str(path))
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)


def test_a_missing_numpy_is_reported_with_the_install_command(text):
    program = f"""
import sys
sys.modules["numpy"] = None
from paragone_cli.main import main
sys.exit(main(["fidelity", "graded:exact", "graded:rough", "--text", {str(text)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    command = f"pip install --python {sys.executable} 'numpy<3,>=1.26' 'scipy<2,>=1.15'"
    assert said(done).endswith(f"not installed.\nInstall it with: uv {command}\n")


def test_a_crash_of_a_candidate_keeps_the_other_results(text):
    done = fidelity(text, "graded:exact", "graded:crashing", "twin:rough", "--json")
    assert done.returncode == 1
    warning, *error = said(done).splitlines()
    assert "crashing does not differ from exact at any position" in warning
    assert error == ["paragone: The engine's process crashed (SIGSEGV).", "  | ggml: out of luck"]
    found = data("fidelity", done)
    crashing, rough = found["candidates"]
    assert (crashing["windows"], rough["windows"], found["partial"]) == (2, 6, True)
    assert crashing["mean_kld"] == 0


def test_a_crash_of_the_reference_keeps_the_results_so_far(text):
    done = fidelity(text, "graded:crashing", "graded:rough")
    assert done.returncode == 1
    assert done.stdout.startswith(
        b"Reference crashing: 7 tokens scored in 1 of 6 windows of 16 tokens, partial\n"
    )
    assert "crashed (SIGSEGV)" in said(done)


def test_a_server_that_stops_reporting_log_probabilities_fails(text):
    done = fidelity(text, "graded:exact", "twin:faltering")
    assert done.returncode == 1
    assert said(done) == "paragone: The server at http://double returned no log-probabilities.\n"
    assert b"faltering: picks the top token of exact at 100.0% of the positions" in done.stdout


def test_ctrl_c_prints_the_results_so_far(text, terminal):
    argv = ("fidelity", "graded:exact", "graded:endless", "--text", str(text), "--window", "16")
    with running(*argv, "--json", stderr=terminal.theirs) as process:
        until(lambda: terminal.take() and b"window 3 of 6" in terminal.written, "the third window never came")
        assert b"window 1 of 6" in terminal.written
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    found = data("fidelity", subprocess.CompletedProcess((), 130, output))
    assert (found["partial"], found["candidates"][0]["windows"]) == (True, 2)
    assert found["windows"] in (2, 3)


# The history


def measurements() -> tuple[Measurement, ...]:
    with contextlib.closing(Store.open()) as store:
        return store.measurements.all("fidelity")


def test_a_measurement_that_did_not_begin_is_not_saved(text):
    assert fidelity(text, "graded:missing", "twin:rough").returncode
    assert measurements() == ()


def test_a_limit_for_the_mean_kld_determines_the_exit_code(text):
    done = fidelity(text, "graded:jittery", "twin:rough", "graded:foreign", "--max-kld", "0")
    assert done.returncode == 1
    assert "rough: the mean KLD" in said(done)
    assert "is above the limit 0." in said(done)
    assert "foreign: the mean KLD is unknown, so the limit 0 is not met." in said(done)


@pytest.mark.model
def test_quantized_kv_caches_of_the_real_model_are_compared(smol, text):
    engine, *settings = smol
    text.write_text(sample_text()[:800])
    argv = ("--text", str(text), "--window", "64", "--json", "--kv", "q8_0,q4_0,q8_0", *settings)
    done = paragone("fidelity", engine, engine, *argv)
    found = data("fidelity", done)
    same, fine, coarse = found["candidates"]
    assert same["windows"] == found["windows"] >= 3
    assert same["mean_kld"] <= found["noise"]["mean_kld"]
    assert ("nothing was compared" in said(done)) is (same["mean_kld"] == 0)
    assert fine["engine"].endswith(" KV q8_0")
    assert coarse["mean_kld"] > fine["mean_kld"] > 0
    assert coarse["mean_kld"] > found["noise"]["mean_kld"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["graded:exact"], "There is nothing to compare the reference with."),
        (["graded:exact", "--kv", ","], "There is nothing to compare the reference with."),
        (["graded:exact", "--kv", "q5"], "q5"),
        (["scripted:a", "--kv", "q8"], "Scripted has no option for it"),
    ],
)
def test_unknown_kv_cache_types_are_refused(text, argv, message):
    done = fidelity(text, *argv)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)


# Greedy answers


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Question {number}"}) + "\n" for number in range(4)))
    return str(path)


def answering(*argv: str) -> subprocess.CompletedProcess[bytes]:
    return paragone("fidelity", *argv, "--window", "512", "--free-running")


def test_a_collapsed_engine_is_reported_although_distributions_are_equal(prompts):
    done = answering("graded:exact", "graded:collapsed", "twin:exact", "--prompts", prompts)
    assert done.returncode == 0
    printed = done.stdout.decode()
    assert "collapsed: mean KLD 0" in printed
    assert "\nGreedy answers to 4 prompts\n" in printed
    (row,) = (line for line in printed.splitlines() if line.startswith("the same answer"))
    assert row.split()[3:] == ["0", "of", "4", "4", "of", "4"]
    assert (
        "collapsed has collapsed: its answers to 4 of the 4 prompts that exact answers well are loops or empty."
        in printed
    )


def test_engines_without_distributions_still_answer_and_the_agreement_is_saved(prompts):
    done = answering("graded:mute", "graded:exact", "--prompts", prompts, "--json")
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
    (saved,) = measurements()
    assert saved.data["free_running"] == found
    done = answering(
        "graded:exact", "graded:rough", "--prompts", prompts, "--json", "--set", "rough.max_tokens=7"
    )
    engines = data("fidelity", done)["free_running"]["engines"]
    assert [(it["median_tokens"], it["cut"]) for it in engines] == [(200, 4), (7, 4)], "a user's limit holds"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prompts", "{folder}/none.jsonl", "--free-running"], "none.jsonl"),
        (["--prompts", "{folder}/bad.jsonl", "--free-running"], "bad.jsonl:2: "),
        (["--prompts", "{folder}/bad.jsonl"], "--prompts needs --free-running"),
        (["--prompts", "{folder}/prompts.txt", "--free-running"], "is not a format of suites"),
    ],
)
def test_bad_prompts_are_refused_before_anything_is_measured(argv, message, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "Hi"}\n{"prompt": 3}\n')
    (tmp_path / "prompts.txt").write_text("Hi\n")
    words = [word.replace("{folder}", str(tmp_path)) for word in argv]
    done = paragone("fidelity", "scripted:a", "scripted:b", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)


def test_an_engine_that_cannot_be_opened_is_reported_once(prompts):
    done = answering("graded:missing", "graded:gone", "--prompts", prompts)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said(done).count("There is no model 'missing'") == 1


def over_suite(*argv: str) -> subprocess.CompletedProcess[bytes]:
    return paragone("fidelity", *argv, "--set", "max_tokens=20")


def test_a_candidate_without_probabilities_is_compared_by_its_greedy_answers(prompts):
    done = over_suite("graded:exact", "twin:rough", "graded:mute", "--suite", prompts, "--json")
    found = data("fidelity", done)
    assert (done.returncode, said(done)) == (0, "")
    rough, mute = found["candidates"]
    assert (rough["windows"], rough["reason"], mute["windows"]) == (4, None, 0)
    assert mute["reason"].endswith(
        "reports no probabilities of given answers. The greedy answers are compared."
    )
    (agreement,) = found["free_running"]["candidates"]
    assert (agreement["candidate"], agreement["prompts"]) == ("mute", 4)


def test_a_reference_without_distributions_is_compared_by_greedy_answers(prompts):
    done = over_suite("graded:mute", "graded:exact", "twin:rough", "--suite", prompts)
    assert (done.returncode, said(done)) == (0, "")
    printed = done.stdout.decode()
    assert printed.startswith("Greedy answers to 4 prompts\n")
    assert "\nmute reports no distributions. The greedy answers are compared.\n" in printed


def test_top_tokens_of_answers_are_compared(prompts):
    done = over_suite("graded:exact", "graded:tops", "graded:foreign", "--suite", prompts, "--json")
    tops, foreign = data("fidelity", done)["candidates"]
    assert (tops["top_k"]["windows"], tops["divergence"]) == (4, {"answers": 4, "never": 4, **NEVER})
    assert (foreign["mean_kld"], foreign["bits_per_byte"] > 0) == (None, True)
    printed = over_suite("graded:exact", "graded:tops", "--suite", prompts).stdout.decode()
    assert "uncertainties are unknown" not in printed, "the reference's perplexity has one"


def test_ctrl_c_keeps_the_answers_measured_so_far(prompts, terminal):
    argv = ("fidelity", "graded:exact", "graded:endless", "--suite", prompts, "-s", "max_tokens=20")
    with running(*argv, "--json", stderr=terminal.theirs) as process:
        until(lambda: terminal.take() and b"answer 3 of 4" in terminal.written, "the third answer never came")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    found = data("fidelity", subprocess.CompletedProcess((), 130, output))
    (candidate,) = found["candidates"]
    assert (found["partial"], candidate["windows"], candidate["divergence"]["answers"]) == (True, 2, 2)


NEVER = dict.fromkeys(("p25", "median", "p75"))


def test_a_prompt_beyond_the_context_is_skipped_and_counted(tmp_path):
    path = tmp_path / "long.jsonl"
    questions = ("Why?", "word " * 2000, "How?")
    path.write_text("".join(json.dumps({"prompt": it}) + "\n" for it in questions))
    done = over_suite("graded:exact", "twin:rough", "--suite", str(path))
    assert (done.returncode, said(done)) == (0, "")
    printed = done.stdout.decode()
    assert printed.startswith("Reference exact: 40 tokens of 2 greedy answers in 2 of 2 conversations\n")
    assert "1 of 3 answers is skipped" in printed


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--answers", "recorded"], "--answers needs --suite."),
        (
            ["--suite", "{prompts}", "--answers", "recorded"],
            "No prompt of prompts.jsonl has a recorded answer.",
        ),
        (["--suite", "{prompts}", "--free-running"], "--suite excludes --text and --free-running."),
    ],
)
def test_contradicting_arguments_are_refused(argv, message, prompts):
    done = over_suite("graded:exact", "twin:rough", *(word.replace("{prompts}", prompts) for word in argv))
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)
