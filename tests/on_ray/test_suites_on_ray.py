"""Suites on a real cluster of two nodes: the same results as alone, whatever is killed."""

import contextlib
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.on_ray.cluster import PATIENCE, running_cluster, until

LOG = "events.log"
PROGRAM = str(Path(sys.executable).with_name("paragone"))


@pytest.fixture(scope="module")
def cluster():
    """Skips these tests where Ray is not installed: `make test-ray` installs it in an environment of its own."""
    pytest.importorskip("ray")
    with running_cluster() as cluster:
        yield cluster


def paragone(*argv):
    return subprocess.run([PROGRAM, *argv], capture_output=True, text=True, timeout=PATIENCE)


def suite_of(folder, *prompts):
    assertion = {"type": "contains", "value": "O"}
    return written(folder / "suite.jsonl", prompts, assertion)


def written(path, prompts, assertion):
    lines = (json.dumps({"prompt": prompt, "assertions": [assertion]}) for prompt in prompts)
    path.write_text("\n".join(lines))
    return path


def answers(done):
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return {
        (run["prompt_index"], run["engine"]): (
            run["text"],
            run["error"],
            run["usage"]["completion_tokens"],
            [(it["type"], it["passed"], it["reason"]) for it in run["assertions"]],
        )
        for run in json.loads(done.stdout)["runs"]
    }


@pytest.fixture
def asked(tmp_path):
    """Returns what the scripted engines were asked, from the log that all of them write."""

    def read() -> Counter[str]:
        log = tmp_path / LOG
        text = log.read_text() if log.exists() else ""
        return Counter(line for line in text.splitlines() if line.startswith("ask "))

    return read


def on(cluster, suite):
    return "suite", "run", str(suite), "--engines", "scripted:one", "--on", cluster.address, "--json"


@contextlib.contextmanager
def running(cluster, suite, asked, *more, least=8):
    """A suite on the cluster, once both nodes have an engine, and some answers were asked for."""
    command = [PROGRAM, *on(cluster, suite), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: process.poll() is not None or asked().total() >= least, "the suite does not begin")
        until(
            lambda: process.poll() is not None or all(node.actors() for node in cluster.nodes),
            "not all nodes have an engine",
        )
        yield process
    finally:
        process.kill()
        process.communicate()


def slowly(tmp_path):
    return ("--set", f"log={tmp_path / LOG}", "--set", "delay_s=0.2")


def ended(process):
    out, errors = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess([], process.returncode, out, errors)


def check_complete(done, prompts):
    found = answers(done)
    assert {key[0]: text for key, (text, *_) in found.items()} == {
        index: prompt.upper() for index, prompt in enumerate(prompts)
    }


PROMPTS = [f"prompt number {number}" for number in range(60)]


def test_a_suite_on_a_cluster_has_the_same_results_as_on_one_machine(cluster, tmp_path):
    suite = suite_of(tmp_path, "one two", "three", "four", "please fail")
    engines = ("--engines", "scripted:one", "scripted:other")
    alone = answers(paragone("suite", "run", str(suite), *engines, "--json", "--fresh"))
    done = paragone("suite", "run", str(suite), *engines, "--json", "--fresh", "--on", cluster.address)
    assert answers(done) == alone
    assert len(alone) == 8
    assert "one: 2 on 2 nodes" in done.stderr
    # nothing is left to do
    again = paragone("suite", "run", str(suite), *engines, "--json", "--on", cluster.address)
    assert answers(again) == alone


def test_smollm2_on_a_cluster_gives_the_same_answers_as_on_one_machine(cluster, tmp_path, whole_smollm2):
    suite = suite_of(tmp_path, *(f"Name {number} things of wood." for number in range(2, 8)))
    options = ("max_tokens=12", "temperature=0.8", "n_ctx=512")
    settings = [*(word for option in options for word in ("--set", option)), "--json", "--fresh"]
    engine = ("--engines", f"llama_cpp:{whole_smollm2}")
    alone = answers(paragone("suite", "run", str(suite), *engine, *settings))
    spread = answers(paragone("suite", "run", str(suite), *engine, *settings, "--on", cluster.address))
    assert spread == alone
    assert all(text for text, *_ in alone.values())


@pytest.mark.parametrize("killed", ["process", "node"])
def test_a_killed_process_or_node_loses_only_its_runs_in_progress(cluster, tmp_path, asked, killed):
    suite = suite_of(tmp_path, *PROMPTS)
    with running(cluster, suite, asked, *slowly(tmp_path)) as process:
        (cluster.nodes[1].actors()[0] if killed == "process" else cluster.nodes.pop()).kill()
        done = ended(process)
    if killed == "node":
        until(lambda: cluster.alive() == 1, "the head does not notice the loss")
        cluster.add()
    check_complete(done, PROMPTS)
    assert "was lost" in done.stderr
    assert set(asked()) == {f"ask one: {prompt}" for prompt in PROMPTS}
    assert asked().total() <= len(PROMPTS) + 4


def test_a_killed_command_loses_only_its_runs_in_progress(cluster, tmp_path, asked):
    suite = suite_of(tmp_path, *PROMPTS)
    with running(cluster, suite, asked, *slowly(tmp_path)) as process:
        process.kill()
        process.wait()
    until(lambda: not any(node.actors() for node in cluster.nodes), "the engines outlive the command")
    before = asked().total()
    assert before < len(PROMPTS)
    done = paragone(*on(cluster, suite), *slowly(tmp_path))
    check_complete(done, PROMPTS)
    assert "Resuming experiment e1" in done.stderr
    assert asked().total() <= len(PROMPTS) + 8


def test_ctrl_c_keeps_the_finished_runs(cluster, tmp_path, asked):
    suite = suite_of(tmp_path, *PROMPTS)
    with running(cluster, suite, asked, *slowly(tmp_path)) as process:
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.returncode == 130
    finished = json.loads(done.stdout)["runs"]
    assert 0 < len(finished) < len(PROMPTS)
    assert "To continue, run the same command again." in done.stderr
    until(lambda: not any(node.actors() for node in cluster.nodes), "the engines outlive the command")


def verdicts(done):
    assert done.returncode == 0, done.stderr
    return [
        [(it["passed"], it["reason"], it["score"]) for it in run["assertions"]]
        for run in json.loads(done.stdout)["runs"]
    ]


def test_a_judge_on_a_cluster_gives_the_same_verdicts_despite_a_killed_process(cluster, tmp_path, asked):
    judged = {"type": "judge", "engine": "judge", "criterion": "It is good."}
    suite, config = written(tmp_path / "s.jsonl", PROMPTS, judged), tmp_path / "config.toml"
    config.write_text(
        f'[engines.judge]\nbackend = "scripted"\nmodel = "judge"\ndelay_s = 0.3\nlog = "{tmp_path / LOG}"\n'
    )
    more = ("--trust", "--fresh", "--config", str(config))
    with running(cluster, suite, asked, *more, least=4) as process:
        cluster.nodes[1].actors()[0].kill()
        done = ended(process)
    there = verdicts(done)
    assert "A process of judge on the node" in done.stderr
    assert "judge: 2 on 2 nodes" in done.stderr
    assert len(asked()) == 60
    assert asked().total() <= 62
    alone = paragone("suite", "run", str(suite), "--engines", "scripted:one", "--json", *more)
    assert there == verdicts(alone)


def test_an_address_without_a_cluster_is_refused(tmp_path):
    pytest.importorskip("ray")
    suite = suite_of(tmp_path, "one")
    done = paragone("suite", "run", str(suite), "--engines", "scripted:one", "--on", "127.0.0.1:9")
    assert done.returncode == 2
    assert "There is no cluster at 127.0.0.1:9: Connection refused." in done.stderr
    assert "ray start --head" in done.stderr


def test_a_cluster_of_another_python_is_refused(cluster, tmp_path):
    """A test double of the version: this program says that it is another Python."""
    suite = suite_of(tmp_path, "one")
    code = (
        "import sys, ray._private.utils as utils\n"
        "utils.compute_version_info = lambda: ('2.60.0', '3.99.0')\n"
        "from paragone_cli.main import main\n"
        f"sys.exit(main(['suite', 'run', {str(suite)!r}, '--engines', 'scripted:one', '--on', {cluster.address!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2, done.stderr
    assert "The cluster has another Python or Ray than this program." in done.stderr
    assert "3.99.0" in done.stderr
