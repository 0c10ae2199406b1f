"""`paragone choose`: the whole command with test doubles, whose engines answer in upper case."""

import json
import signal
from contextlib import closing
from pathlib import Path

import pytest
from large_model import write_large_model

from paragone_workbench.store import Store

from .conftest import data, paragone, running, said, until

ENGINES = ("scripted:a", "scripted:b")


@pytest.fixture
def suite(tmp_path: Path) -> str:
    """The path of a suite that half of the answers pass."""
    path = tmp_path / "prompts.jsonl"
    checked = [{"type": "contains", "value": "X"}]
    texts = [f"{letter}{number}" for letter in "xy" for number in range(10)]
    prompts = [{"prompt": text, "assertions": checked, "tags": [text[0]]} for text in texts]
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    return str(path)


def measured() -> list[str]:
    """The ids of the measurements in the history."""
    with closing(Store.open()) as store:
        return [it.id for kind in ("bench", "fidelity") for it in store.measurements.all(kind)]


def test_a_decision_is_printed_as_json_and_known_results_are_reused(suite):
    done = paragone("choose", *ENGINES, "--suite", suite, "--json")
    assert done.returncode == 0, said(done)
    found = data("choose", done)
    assert (found["reference"], found["experiment"]) == ("a", "e1")
    assert found["chosen"] in ("a", "b")
    assert [(it["engine"], it["pass_rate"], it["prompts"]) for it in found["engines"]] == [
        ("a", 0.5, 20), ("b", 0.5, 20),
    ]  # fmt: skip
    assert all(it["ttft_s"] > 0 for it in found["engines"])
    assert any(message.startswith("The fidelity") for message in found["not_measured"])
    compared = data("suite compare", paragone("suite", "compare", "e1", "--json"))
    assert compared["non_inferiority"] == found["non_inferiority"], "one computation"
    before = measured()
    again = data("choose", paragone("choose", *ENGINES, "--suite", suite, "--json"))
    assert (again["chosen"], again["experiment"], measured()) == (found["chosen"], "e1", before)
    fresh = data("choose", paragone("choose", *ENGINES, "--suite", suite, "--json", "--fresh"))
    assert fresh["experiment"] == "e2"
    assert len(measured()) > len(before)


def test_concurrent_users_are_measured_if_an_engine_has_several_slots(suite):
    done = paragone("choose", "scripted_server:s", "scripted:a", "--suite", suite, "--json")
    found = data("choose", done)
    rates = {it["engine"]: it["users_tps"] for it in found["engines"]}
    assert (rates["s"] > 0, rates["a"], found["users"]) == (True, None, 16)


def test_with_strict_an_open_question_has_an_exit_code_of_its_own(tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text('{"prompt": "x", "assertions": [{"type": "contains", "value": "X"}]}\n')
    codes = [
        paragone("choose", *ENGINES, "--suite", str(path), *strict).returncode
        for strict in ([], ["--strict"])
    ]
    assert codes == [1, 3]


def test_few_prompts_give_no_decision(tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text('{"prompt": "x", "assertions": [{"type": "contains", "value": "X"}]}\n')
    done = paragone("choose", *ENGINES, "--suite", str(path))
    text = done.stdout.decode()
    assert (done.returncode, text.splitlines()[0]) == (1, "Nothing is decided.")
    assert "100.0% (20.7 to 100.0)" in text
    assert "Name a suite of 20 prompts or more." in " ".join(text.split())
    assert "1 prompt cannot rule out a loss of 3.0 points: at least 91 are needed" in said(done)


def test_the_text_begins_with_the_decision(suite):
    done = paragone("choose", *ENGINES, "--suite", suite, "--reference", "scripted:b", "--margin", "50")
    lines = done.stdout.decode().splitlines()
    assert lines[0] in ("Deploy a.", "Deploy b.")
    (header,) = (line for line in lines if line.startswith("   engine"))
    assert {"pass rate", "TTFT"} <= {title.strip() for title in header.split("  ")}
    assert "b (reference)" in done.stdout.decode()
    assert "Speed, in tokens per second, and TTFT are means over the answers; ±" in " ".join(lines)
    assert any(line.startswith("▸") for line in lines)


def test_too_little_time_is_reported(monkeypatch):
    monkeypatch.setattr("paragone_cli.choose.parse_duration", lambda _: 0)
    done = paragone("choose", *ENGINES, "--time", "2s")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, b"Nothing is decided.")
    assert "a and b are compared by the 120 built-in prompts" in said(done)
    assert ", in at most 2s." in said(done)
    with closing(Store.open()) as store:
        assert not store.experiments.all()


@pytest.mark.parametrize(
    ("argv", "message", "benched"),
    [
        (("llama_cpp:/nowhere.gguf", "scripted:a"), "There is no file /nowhere.gguf.", False),
        (
            ("scripted:gone", *ENGINES, "--reference", "scripted:gone"),
            "Nothing can be chosen: the reference is missing. The model gone is gone.",
            True,
        ),
    ],
)
def test_missing_packages_are_reported_before_any_prompt_is_answered(argv, message, benched, suite):
    done = paragone("choose", *argv, "--suite", suite)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)
    assert bool(measured()) is benched
    with closing(Store.open()) as store:
        assert not store.experiments.all()


def test_engines_that_cannot_be_opened_are_skipped(suite):
    lost = ("llama_cpp:/nowhere.gguf", "scripted:gone")
    done = paragone("choose", *lost, *ENGINES, "--suite", suite, "--json", "--time", "1m")
    found = data("choose", done)
    assert [engine["engine"] for engine in found["engines"]] == ["a", "b"]
    missing, gone = found["left_out"]
    assert missing in said(done)
    assert missing.endswith("There is no file /nowhere.gguf.")
    assert gone in said(done)
    assert gone.endswith("The model gone is gone.")


def test_ctrl_c_in_the_suite_writes_a_report_that_the_same_command_replaces(tmp_path):
    log, report, prompts = tmp_path / "log", tmp_path / "report.html", tmp_path / "prompts.jsonl"
    checked = {"assertions": [{"type": "contains", "value": "X"}]}
    texts = [
        *map(str, range(12)),
        "endless",
    ]  # 12 of 13 prompts are answered greedily first, and not the last one
    prompts.write_text("".join(json.dumps({"prompt": text, **checked}) + "\n" for text in texts))
    argv = ("choose", *ENGINES, "--suite", str(prompts), "--to", str(report), "--set", f"log={log}")
    with running(*argv) as process:
        until(lambda: log.exists() and ": endless" in log.read_text(), "the last prompt is asked")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, report.exists()) == (130, True), err
    assert "To continue, run the same command again." in err.decode()
    assert b"Traceback" not in err
    log.unlink()
    with running(*argv) as process:
        until(lambda: log.exists() and ": endless" in log.read_text(), "the last prompt is asked again")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert f"{report} is written (" in err.decode()


def test_engines_that_do_not_fit_on_the_gpu_are_skipped_with_the_sizes(tmp_path):
    paths = [write_large_model(tmp_path, name, vocab=1024) for name in ("F16", "Q4_K_M")]
    engines = [f"llama_cpp:{path}" for path in paths]
    done = paragone("choose", *engines, "--vram", "8G", "--json")
    found = data("choose", done)
    assert (done.returncode, found["chosen"], found["experiment"]) == (1, None, None)
    assert found["reasons"] == ["No engine fits."]
    assert len(found["left_out"]) == 2
    assert "F16 does not fit: it needs " in found["left_out"][0]
    assert " layers would fit. The CPU would compute the other " in found["left_out"][0]
    assert "an answer takes about " in found["left_out"][0]
    done = paragone("choose", *engines, "--vram", "1G")
    text = done.stdout.decode()
    assert "GPUs of this size leave no memory for a model: 1.5 GB of each GPU are for the driver" in text
    assert text.count("No layer would fit.") == text.count("does not fit") == 2
    assert "\nNot chosen, and why:\n" in text


def test_only_an_unchanged_report_of_the_same_choice_is_replaced(suite, tmp_path):
    names = [f"harbour-2b-instruct-imatrix.{kind}.gguf" for kind in ("Q8_0", "Q4_K_M")]
    report = tmp_path / "report.html"
    argv = ("choose", *(f"scripted:{name}" for name in names), "--suite", suite, "--to", str(report))
    for _ in range(2):
        done = paragone(*argv)
        assert done.returncode == 0, said(done)
        assert f"{report} is written (" in said(done)
    for text in (done.stdout.decode(), report.read_text()):
        assert "Deploy Q8_0" in text or "Deploy Q4_K_M" in text, "long names are brief in sentences"
        assert all(name.removesuffix(".gguf") in text for name in names), "and whole in the table"
    of_others = paragone("choose", *ENGINES, "--suite", suite, "--to", str(report))
    report.write_text(report.read_text() + "<!-- kept -->")
    for refused in (of_others, paragone(*argv)):
        assert (refused.returncode, refused.stdout) == (2, b"")
        assert "report.html exists already." in said(refused)
    assert report.read_text().endswith("<!-- kept -->")


def test_ctrl_c_before_the_first_measurement_leaves_no_experiment(suite, tmp_path):
    log, report = tmp_path / "log", tmp_path / "report.html"
    slow = ("--set", "delay_s=3600", "--set", f"log={log}", "--fresh")
    with running("choose", *ENGINES, "--suite", suite, "--to", str(report), *slow) as process:
        until(lambda: log.exists() and "ask " in log.read_text(), "an engine is asked")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, report.exists()) == (130, False), err
    assert out.startswith(b"Nothing is decided.\n")
    assert (
        "  Repeat the command to continue with the suite, the speed of a and b and the greedy answers of b.\n"
        in out.decode()
    )
    assert (
        "Interrupted. The measurements so far are kept. To continue, run the same command again, without --fresh.\n"
        in err.decode()
    )
    assert err.decode().endswith(f"{report} is not written: no prompt of the suite was answered.\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["scripted:a"], "One engine leaves nothing to choose."),
        ([*ENGINES, "--to", "{folder}/report.doc"], "the name must end in .html"),
        ([*ENGINES, "--reference", "c"], "The reference 'c' is none of the engines."),
        ([*ENGINES, "--vram", "much"], "'much' is not a size."),
        ([*ENGINES, "--time", "0s"], "is not a duration"),
        ([*ENGINES, "--suite", "{folder}/none.jsonl"], "none.jsonl"),
        ([*ENGINES, "--to", "{folder}/plain.jsonl/a.html"], "plain.jsonl is a file, not a folder."),
        ([*ENGINES, "--suite", "{folder}/plain.jsonl"], "No prompt of plain has assertions"),
    ],
)
def test_suites_that_cannot_decide_are_refused(argv, message, tmp_path):
    (tmp_path / "plain.jsonl").write_text('{"prompt": "Hi"}\n')
    done = paragone("choose", *(word.replace("{folder}", str(tmp_path)) for word in argv))
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)
