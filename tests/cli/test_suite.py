"""`paragone suite`: the whole command, with test doubles and with real engines."""

import hashlib
import json
import os
import signal
import xml.etree.ElementTree as ET
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hostile_server import OPENAI, HostileServer
from loopback_server import running_in_thread

from paragone import WeightsFile
from paragone.texts import counted
from paragone.threads import physical_cores
from paragone_workbench.store import Store

from .conftest import Terminal, data, paragone, running, said, until

ENGINES = ("--engines", "scripted:a", "scripted:b")


@pytest.fixture
def prompts(tmp_path):
    """A function that writes a file of prompts."""

    def write(*texts: str, name: str = "prompts.jsonl", **more) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps({"prompt": text, **more}) + "\n" for text in texts))
        return str(path)

    return write


def asked(log: Path) -> Counter[str]:
    """How often each engine was asked each prompt, as `MODEL: PROMPT`."""
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(line.removeprefix("ask ") for line in lines if line.startswith("ask "))


def test_each_turn_of_an_imported_conversation_is_answered_given_the_recorded_past(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    past = [("user", "one"), ("assistant", "Recorded."), ("user", "two"), ("assistant", "Recorded, too.")]
    talk = {"messages": [{"role": role, "content": text} for role, text in past]}
    (tmp_path / "talk.jsonl").write_text(f"{json.dumps(talk)}\nnothing\n")
    done = paragone("suite", "import", "talk.jsonl", "--json")
    result = {"file": "suite.jsonl", "prompts": 2, "answers": 2, "refused": 1, "skipped": {}}
    assert (done.returncode, data("suite import", done)) == (1, result)
    assert "warning: talk.jsonl:2: The text is not valid JSON" in said(done)
    found = data("suite run", paragone("suite", "run", "suite.jsonl", "--engines", "scripted:a", "--json"))
    assert [it["text"] for it in found["runs"]] == ["ONE", "TWO"]
    assert paragone("report", "e1", "-o", "e1.json").returncode == 0
    first, second = json.loads((tmp_path / "e1.json").read_text())["prompts"]
    assert [it["text"] for it in second["messages"]] == ["one", "Recorded.", "two"]
    assert (first["answer"], second["answer"]) == ("Recorded.", "Recorded, too.")
    assert first["conversation"] == second["conversation"]
    (tmp_path / "rows.csv").write_text("x,__expected\na,contains:b\nb,python:c\n")
    (tmp_path / "template.txt").write_text("Say {{ x }}.\n")
    done = paragone("suite", "import", "rows.csv", "--template", "template.txt", "--force")
    assert "Skipped: assertions of the type python (1).\nparagone: suite.jsonl has 2 prompts." in said(done)


def test_a_suite_prints_results_and_an_added_prompt_reuses_known_answers(prompts, tmp_path):
    log, checks = tmp_path / "log", [{"type": "contains", "value": "X"}]
    logged = (*ENGINES, "--set", f"log={log}")
    done = paragone("suite", "run", prompts("x", "y", assertions=checks), *logged, "--json")
    assert done.returncode == 1
    assert [line for line in log.read_text().splitlines() if not line.startswith("end")] == [
        "open a", "ask a: x", "ask a: y", "close a", "open b", "ask b: x", "ask b: y", "close b",
    ], "by default, one engine runs after the other"  # fmt: skip
    found = data("suite run", done)
    assert (found["id"], found["resumed"]) == ("e1", False)
    assert [(it["prompt_index"], it["engine"], it["text"]) for it in found["runs"]] == [
        (0, "a", "X"), (0, "b", "X"), (1, "a", "Y"), (1, "b", "Y"),
    ]  # fmt: skip
    assert [it["assertions"][0]["passed"] for it in found["runs"]] == [True, True, False, False]
    assert found["runs"][0]["usage"]["completion_tokens"] == 1
    log.unlink()
    done = paragone("suite", "run", prompts("new", "x", "y"), *logged)
    assert asked(log) == {"a: new": 1, "b: new": 1}
    assert "4 of 6 answers are known from earlier experiments." in said(done)
    assert "4 of 6 answers are known" in done.stdout.decode()
    found = data("suite run", paragone("suite", "run", prompts("x"), *logged, "--json"))
    assert (found["resumed"], found["known"]) == (False, 2)


def test_a_table_of_results_is_printed_at_the_end(prompts):
    engines = [f"scripted:SmolLM2-135M-Instruct.{kind}" for kind in ("Q4_1", "Q3_K_M")]
    engines = ["--engines", engines[0], "--engines", engines[1]]
    done = paragone("suite", "run", prompts("x", "y"), *engines, "--repeat", "2", "--schedule", "auto")
    assert done.returncode == 0, said(done)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split()[:4] == ["engine", "runs", "errors", "passed"]
    assert [line.split()[:3] for line in lines[1:3]] == [["Q4_1", "4", "0"], ["Q3_K_M", "4", "0"]]
    assert "Q3_K_M: SmolLM2-135M-Instruct.Q3_K_M" in lines
    assert "100%: 8 of 8 runs, 0 errors" in said(done)
    assert " left" in said(done)
    for it in data("suite show", paragone("suite", "show", "e1", "--json"))["engines"]:
        low, median, high = (it[f"{place}_ttft_s"] for place in ("p25", "median", "p75"))
        assert low <= median <= high
    assert "Schedule parallel. The engines fit in memory together" in said(done)


def test_times_of_runs_that_shared_the_machine_are_marked(prompts):
    """Both engines are on this machine. With `parallel`, they answer at the same time."""
    together = paragone("suite", "run", prompts("meet"), *ENGINES, "--schedule", "parallel").stdout.decode()
    assert together.count("(shared)") == 3, "of each engine, and in the sentence"
    assert together.count("`--schedule sequential` gives speeds that can be compared.") == 1
    shown = data("suite show", paragone("suite", "show", "e1", "--json"))
    assert [it["times_shared"] for it in shown["engines"]] == [True, True]


def test_a_file_with_mistakes_is_not_run(prompts, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "x"}\nnonsense\n{"promt": "y"}\n')
    log = tmp_path / "log"
    done = paragone("suite", "run", str(file), *ENGINES, "--set", f"log={log}")
    assert done.returncode == 2
    assert "bad.jsonl:2: " in said(done)
    assert "bad.jsonl:3: " in said(done)
    assert "bad.jsonl has mistakes in 2 lines; nothing was run." in said(done)
    assert not asked(log)
    done = paragone("suite", "run", str(file), *ENGINES, "--set", f"log={log}", "--skip-invalid")
    assert done.returncode == 0
    assert "Skipped because of mistakes: 2. Prompts that are run: 1." in said(done)
    assert asked(log) == {"a: x": 1, "b: x": 1}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("run", "FILE", *ENGINES, "--filter", "nowhere"), "No prompt of prompts.jsonl matches"),
        (("run", "FILE", "--engines", "nobody:m"), "There is no backend 'nobody'."),
        (("show", "9"), "'9' is not the id of an experiment."),
    ],
)
def test_impossible_requests_are_refused(prompts, argv, message):
    file = prompts("x")
    done = paragone("suite", *(file if word == "FILE" else word for word in argv))
    assert done.returncode == 2
    assert message in said(done)


def test_an_unknown_id_suggests_the_newest_experiments(prompts):
    assert "The history has no experiments yet" in said(paragone("suite", "show", "e9"))
    paragone("suite", "run", prompts("x"), "--engines", "rogue:nothing")
    for argv in (("show",), ("show", "9"), ("compare", "e9")):
        done = paragone("suite", *argv)
        assert done.returncode == 2
        assert "The newest are: e1 (prompts)." in said(done)


def test_a_filter_chooses_prompts_of_the_same_experiment(prompts):
    file = prompts("red one", "blue two")
    part = data("suite run", paragone("suite", "run", file, *ENGINES, "--filter", "blue", "--json"))
    assert [it["prompt_index"] for it in part["runs"]] == [1, 1]
    whole = data("suite run", paragone("suite", "run", file, *ENGINES, "--json"))
    assert (whole["id"], whole["resumed"], len(whole["runs"])) == (part["id"], True, 4)


def test_after_a_kill_the_same_command_runs_only_unfinished_prompts(prompts, tmp_path):
    """Alone, an engine waits for the other at `meet`. With the schedule of the second command, they meet."""
    log = tmp_path / "log"
    argv = ("suite", "run", prompts("x", "y", "meet"), *ENGINES, "--set", f"log={log}", "--json")
    with running(*argv) as process:
        until(lambda: asked(log)["a: meet"], "the last prompt is not asked")
        done = paragone(*argv)
        assert (done.returncode, "is being run by another instance of paragone" in said(done)) == (2, True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = data("suite run", paragone(*argv, "--schedule", "parallel"))
    assert (found["resumed"], len(found["runs"])) == (True, 6)
    assert asked(log) - Counter(["a: meet"]) == Counter(
        f"{engine}: {it}" for engine in "ab" for it in ("x", "y", "meet")
    )


def test_ctrl_c_keeps_finished_runs_and_shows_how_to_continue(prompts, tmp_path):
    log, junit = tmp_path / "log", tmp_path / "junit.xml"
    command = ("suite", "run", prompts("x", "endless y", "z"), "--engines", "scripted:a", "--fresh", "--json")
    with running(*command, "--set", f"log={log}", "--junit", str(junit)) as process:
        until(lambda: asked(log)["a: endless y"], "no progress")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert [it["text"] for it in json.loads(out)["runs"]] == ["X"]
    assert b"Not finished: 2 of 3 runs. To continue, run the same command again, without --fresh.\n" in err
    assert len(ET.parse(junit).findall(".//testcase")) == 1


def test_a_killed_worker_is_restarted(prompts):
    """The rogue backend's process kills itself in each run; another engine goes on."""
    file = prompts(*map(str, range(6)))
    done = paragone("suite", "run", file, "--engines", "rogue:killed", "rogue:steady", "--json")
    assert done.returncode == 1
    runs = data("suite run", done)["runs"]
    assert [it["error"] is None for it in runs if it["engine"] == "steady"] == [True] * 6
    assert sum(it["engine"] == "killed" for it in runs) == 3
    assert "The engine killed crashed 3 times in a row" in said(done)


def test_answers_that_a_length_limit_cut_are_counted(prompts):
    note = "steady: 2 of 2 answers were cut at the length limit. `--set max_tokens=N` sets a longer one."
    run = ("run", prompts("x", "y"), "--engines", "rogue:steady", "--set", "max_tokens=3")
    for argv in (run, ("show", "e1"), ("compare", "e1")):
        assert note in paragone("suite", *argv).stdout.decode()
    for command, argv in (
        ("suite run", run),
        ("suite show", ("show", "e1")),
        ("suite compare", ("compare", "e1")),
    ):
        done = paragone("suite", *argv, "--json")
        assert [it["cut"] for it in data(command, done)["engines"]] == [2]


def test_speeds_are_printed_with_the_load_of_the_machine(prompts):
    run = ("run", prompts("x", "y"), *ENGINES)
    runs = data("suite run", paragone("suite", *run, "--json"))["runs"]
    loads = [max(it["timings"]["machine_load"] for it in runs if it["engine"] == name) for name in "ab"]
    note = f"The load of the machine ({counted(physical_cores(), 'core')}) was at most {max(loads):.1f} during the runs."
    for command, argv in (
        ("suite run", run),
        ("suite show", ("show", "e1")),
        ("suite compare", ("compare", "e1")),
    ):
        assert note in " ".join(paragone("suite", *argv).stdout.decode().split())
        done = paragone("suite", *argv, "--json")
        assert [it["machine_load"] for it in data(command, done)["engines"]] == loads


def test_a_server_that_may_use_its_cache_is_noted(prompts):
    """A test double of a server of another kind than llama-server, which cannot be told to leave its cache."""

    async def answer(exchange):
        await exchange.answer("Hello.")

    with running_in_thread(HostileServer(OPENAI)) as server:
        server.on_chat = answer
        done = paragone("suite", "run", prompts("x", "y"), "--engines", f"openai:m@{server.url}")
        note = "This server may reuse its KV cache: the prompt may not have been processed completely."
        assert done.stdout.decode().count(f"m: {note}") == 1
        file = prompts("x", "y", name="more.jsonl")
        asked = ("--free-running", "--prompts", file, "--json")
        done = paragone("fidelity", f"openai:m@{server.url}", "scripted:a", *asked)
        notes = data("fidelity", done)["free_running"]["notes"]
        assert [it for it in notes if "cache" in it] == [f"m: {note}"]


def test_a_server_that_changes_its_model_is_given_up(prompts):
    """A test double of llama-server, which describes another file from the fourth answer on."""
    props = {"total_slots": 1, "model_path": "/a.gguf", "default_generation_settings": {"n_ctx": 4096}}
    with running_in_thread(HostileServer(OPENAI)) as server:

        async def answer(exchange):
            if len(server.chats) == 4:
                server.replies["/props"] = {**props, "model_path": "/b.gguf"}
            await exchange.answer("Hello.")

        server.replies["/props"], server.on_chat = props, answer
        run = ("run", prompts(*"abcdefgh"), "--engines", f"openai:m@{server.url}", "--schedule", "sequential")
        done = paragone("suite", *run, "--json")
        why = f"Another model answered as m: The server at {server.url} has changed since this engine was opened"
        assert (done.returncode, why in said(done)) == (1, True)
        first, wrong = (errors := [it["error"] for it in data("suite run", done)["runs"]])[:3], errors[3:]
        assert (first, 0 < len(wrong) < 5) == ([None] * 3, True), (
            "the fourth, and what was asked at the same time"
        )
        assert all("its model file was /a.gguf and is /b.gguf" in error for error in wrong)
        assert f"Not finished: {5 - len(wrong)} of 8 runs." in said(done)
        for argv in (("show", "e1"), ("compare", "e1")):
            assert why in paragone("suite", *argv).stdout.decode()
        server.replies["/props"] = props
        done = paragone("suite", *run, "--retry-failed", "--json")
        assert (done.returncode, len(server.chats)) == (0, 8 + len(wrong)), said(done)
        assert {it["error"] for it in data("suite run", done)["runs"]} == {None}


def test_results_are_written_as_junit_xml(prompts, tmp_path):
    junit = tmp_path / "junit.xml"
    file = prompts("x \x01 <&>", "y", "fail x", assertions=[{"type": "contains", "value": "X"}])
    done = paragone("suite", "run", file, *ENGINES, "--repeat", "2", "--junit", str(junit))
    assert done.returncode == 1
    root = ET.parse(junit).getroot()
    assert root.tag == "testsuites"
    assert [it.get("name") for it in root] == ["a", "b"]
    for suite in root:
        cases = suite.findall("testcase")
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "2", "2")
        assert [len(suite.findall(f"testcase{it}")) for it in ("", "/failure", "/error")] == [6, 2, 2]
        assert len({case.get("name") for case in cases}) == 6
        assert all(float(case.get("time")) >= 0 for case in cases)
        failure = suite.find("testcase/failure")
        assert "contain" in failure.get("message")
        assert suite.find("testcase/error").get("message") == "The engine failed. Try again."
    assert "x \ufffd <&>" in root[0][0].get("name")
    assert paragone("suite", "run", file, *ENGINES, "--repeat", "2", "--junit", str(junit)).returncode == 1


def test_junit_xml_replaces_only_its_own_file(prompts, tmp_path):
    file, config, other = prompts("x"), tmp_path / "c.toml", tmp_path / "other.xml"
    config.write_text("")
    other.write_text("<testsuites/>")
    link, pipe = tmp_path / "link.xml", tmp_path / "pipe"
    link.symlink_to(file)
    os.mkfifo(pipe)
    for target, message in (
        (link, "is a file that the program reads."),
        (config, "is a file that the program reads."),
        (pipe, "is not a regular file."),
        (other, "exists already, and `paragone suite run` did not write it."),
    ):
        done = paragone("suite", "run", file, *ENGINES, "--config", str(config), "--junit", str(target))
        assert (done.returncode, done.stdout) == (2, b"")
        assert f"{target} {message}" in said(done)
    assert Path(file).read_text()
    assert other.read_text() == "<testsuites/>"
    assert json.loads(paragone("suite", "list", "--json").stdout)["experiments"] == []  # nothing was run


def test_experiments_are_listed_and_shown(prompts):
    file = prompts("x \x1b[31m", "fail", assertions=[{"type": "contains", "value": "X"}])
    paragone("suite", "run", file, *ENGINES, "--schedule", "sequential")
    (listed,) = data("suite list", paragone("suite", "list", "--json"))["experiments"]
    assert (listed["id"], listed["engines"], listed["done"], listed["failed"]) == ("e1", ["a", "b"], 2, 2)
    assert paragone("suite", "list").stdout.decode().splitlines()[1].startswith("e1  prompts  a, b")
    text = paragone("suite", "show", "e1").stdout.decode()
    assert "#0 x" in text
    assert "e1/1  [1/1] X" in text
    assert "failed: The engine failed." in text
    assert "\x1b" not in text
    shown = data("suite show", paragone("suite", "show", "e1", "--json"))
    assert [it["runs"] for it in shown["engines"]] == [2, 2]
    assert {it["run"] for it in shown["runs"]} == {"e1/1", "e1/2", "e1/3", "e1/4"}
    only = data("suite show", paragone("suite", "show", "e1", "--failed", "--json"))
    assert [it["prompt_index"] for it in only["runs"]] == [1, 1]
    assert "#0" not in paragone("suite", "show", "e1", "--failed").stdout.decode()


def test_on_a_terminal_the_first_prompts_are_shown(prompts, terminal):
    paragone("suite", "run", prompts(*(f"p{number} " + "long " * 100 for number in range(50))), *ENGINES)
    with running("suite", "show", "e1", stdout=terminal.theirs, stderr=terminal.theirs) as process:
        lines = terminal.read(process).decode().splitlines()
    assert "paragone suite show e1 | less" in lines[-2]
    assert lines[-1] == "Next: paragone suite compare e1"
    assert len(lines) < 95
    assert max(map(len, lines)) < 130


def test_engines_are_compared(prompts):
    words = [f"word{number}" for number in range(12)]
    file = prompts(*words, assertions=[{"type": "contains", "value": "WORD1"}])
    paragone("suite", "run", file, *ENGINES)
    done = paragone("suite", "compare", "e1")
    assert "do not differ in pass rate" in done.stdout.decode()
    for options, both in (((), ["ab"]), (("--all-pairs",), ["ab", "ba"])):
        found = data("suite compare", paragone("suite", "compare", "e1", "--json", *options))
        assert [it["engine"] for it in found["engines"]] == ["a", "b"]
        verdicts = [(it["a"] + it["b"], it["margin"], it["verdict"]) for it in found["non_inferiority"]]
        assert verdicts == [(pair, 0.03, "open") for pair in both]
    done = paragone("suite", "compare", "e1", "--margin", "40")
    assert "b is not worse than a by more than 40.0 points: at worst, b passes " in done.stdout.decode()
    paragone("suite", "run", file, "--engines", "scripted:steady")
    found = data("suite compare", paragone("suite", "compare", "e1", "e2", "--json"))
    assert [it["engine"] for it in found["engines"]] == ["a (e1)", "b (e1)", "steady (e2)"]
    assert {it["prompts"] for it in found["same_answers"]} == {12}
    pairs = {(it["a"], it["b"]) for it in (*found["comparisons"], *found["same_answers"])}
    assert pairs == {("a (e1)", "steady (e2)"), ("b (e1)", "steady (e2)")}, "not those of one experiment"


def test_differences_between_experiments_are_printed_above_their_comparison(prompts):
    file = prompts("one", "two", "three")
    paragone("suite", "run", file, *ENGINES)
    paragone("suite", "run", file, "--engines", "scripted:c", "--schedule", "sequential")
    paragone("suite", "run", file, "--engines", "scripted:c", "--system", "Be brief.")
    lines = paragone("suite", "list").stdout.decode().splitlines()[1:]
    assert [line.rpartition("  ")[2] for line in lines] == ["swap", "sequential", "swap"]
    found = data("suite compare", paragone("suite", "compare", "e1", "e2", "--json"))
    *differences, load = found["notes"]
    assert load.startswith("The load of the machine (")
    assert differences == [
        "The schedule is swap in e1 and sequential in e2. Speeds in different schedules are not comparable."
    ]
    text = paragone("suite", "compare", "e1", "e3").stdout.decode()
    head, _, table = text.partition("\n\n")
    assert head.splitlines() == [
        "The experiments differ in more than their engines:",
        '≠ The system prompt is none in e1 and "Be brief." in e3. A prompt with a different system prompt is a different prompt.',
    ]
    assert table.startswith("engine")


def test_an_unfinished_experiment_of_the_same_name_is_mentioned(prompts):
    file = prompts("p1", "p2")
    paragone("suite", "run", file, *ENGINES, "--filter", "p1")
    told = paragone("suite", "run", file, *ENGINES, "--set", "seed=1")
    assert "Beginning experiment e2: e1, which is not finished, differs in " in said(told)
    assert "Beginning" not in said(paragone("suite", "run", file, *ENGINES, "--set", "seed=2"))
    assert "e1 is not finished: 2 of 4 runs." in paragone("suite", "compare", "e1").stdout.decode()


def test_a_live_table_is_shown_during_the_run(prompts, terminal: Terminal):
    judged = [{"type": "judge", "engine": "scripted:judge", "criterion": "good"}]
    file = prompts(*"xyz", assertions=judged)
    with running(
        "suite", "run", file, "--engines", "scripted:a", "--trust", stderr=terminal.theirs
    ) as process:
        written = terminal.read(process).decode()
    assert "engine  done" in written
    assert "3/3" in written
    assert "scripted:judge judges the answers" in written
    assert written.endswith("\x1b[J"), "the table is removed at the end"


@pytest.mark.model
def test_a_real_model_compared_with_itself_gives_the_same_sampled_answers(prompts, smollm2):
    spec = f"llama_cpp:{smollm2}"
    options = ("n_threads=1", "n_ctx=512", "max_tokens=12", "temperature=0.8")
    settings = [word for option in options for word in ("--set", option)]
    file = prompts("Tell me of the sea.", "Tell me of the sky.")
    done = paragone("suite", "run", file, "--engines", spec, spec, "--repeat", "2", *settings, "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert all(it["usage"]["cached_tokens"] == 0 for it in data("suite run", done)["runs"])
    with closing(Store.open()) as store:
        known = store.measurements.weights_digest(WeightsFile.of(smollm2))
    assert known == hashlib.sha256(Path(smollm2).read_bytes()).hexdigest()
    first, second = (
        {
            (it["prompt_index"], it["repetition"]): it["text"]
            for it in data("suite run", done)["runs"]
            if it["engine"].endswith("-2") == again
        }
        for again in (False, True)
    )
    assert first == second
    assert len(set(first.values())) == 4, "each repetition has its own seed"
    greedy = [*settings, "--set", "temperature=0", "--json"]
    found = []
    for before in ("Tell me of the sea.", "Name three colours of the sea."):
        done = paragone(
            "suite", "run", prompts(before, "Tell me of the sea, please."), "--engines", spec, *greedy
        )
        found.append(data("suite run", done)["runs"][1])
    assert found[0]["text"] == found[1]["text"], "whatever was asked before"
    assert [it["usage"]["cached_tokens"] for it in found] == [0, 0]
    replayed = paragone("replay", "e1")
    assert replayed.returncode == 0, replayed.stderr.decode()
