"""`paragone suite run` on an engine with several servers: processes on loopback, of which one is killed."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import data, paragone, running, said, until

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def paced_server():
    """A test double of a server, which sends tokens at given times, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "bench.paced_server",
        "--port",
        str(port),
        "--prefill",
        "0.1",
        "--step",
        "0.01",
    ]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        until(lambda: is_there(port), "the server does not start")
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def is_there(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def two_servers():
    with paced_server() as one, paced_server() as other:
        yield one, other


@pytest.fixture(scope="module")
def two():
    with two_servers() as both:
        yield both


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "suite.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"number {number}"}) + "\n" for number in range(160)))
    return str(path)


def engine_of(two):
    return "openai:m@" + ",".join(url for _, url in two)


@contextlib.contextmanager
def begun(folder, *command, **streams):
    """A suite of which a tenth has been run, and what it has told."""
    path = folder / "told"
    with (
        path.open("wb") as errors,
        running(*command, "--schedule", "parallel", stderr=errors, **streams) as process,
    ):
        until(lambda: b"10%" in path.read_bytes(), "no run ends")
        yield process, path.read_text


@pytest.fixture
def to_be_killed():
    with two_servers() as both:
        yield both


def test_one_of_two_servers_is_killed_in_the_middle(to_be_killed, prompts, tmp_path):
    two = to_be_killed
    command = ("suite", "run", prompts, "--engines", engine_of(two), "--set", "max_tokens=20", "--json")
    (_, _), (killed, url) = two
    with begun(tmp_path, *command, stdout=subprocess.PIPE) as (process, told):
        killed.kill()
        out, _ = process.communicate()
    assert process.returncode == 0, told()
    runs = json.loads(out)["runs"]
    assert len(runs) == 160
    assert {(run["engine"], run["error"], run["text"]) for run in runs} == {("m", None, 20 * " word")}
    assert f"The server {url.removeprefix('http://')} of m is asked no more for now: " in told()
    assert "Its runs go to the other servers." in told()
    # the same command has nothing left to do, while the server is away
    again = data("suite run", paragone(*command))
    assert (again["resumed"], again["runs"]) == (True, runs)


def test_one_request_at_a_time_is_told(two, prompts):
    done = paragone(
        "suite", "run", prompts, "--engines", engine_of(two), "--filter", "number 7", "--set", "max_tokens=1"
    )
    assert "--schedule parallel asks several servers at once" in said(done)


def test_a_schedule_that_decides_on_parallel_is_not_told_to_be_slow(two, prompts):
    command = ("suite", "run", prompts, "--engines", engine_of(two), "--filter", "number 7")
    done = paragone(*command, "--set", "max_tokens=1", "--schedule", "auto")
    assert done.returncode == 0
    assert "one request at a time" not in said(done)


def test_other_commands_refuse_several_servers(two, settings):
    engine = engine_of(two)
    for argv in (
        ("ask", engine, "Hi"),
        ("compare", engine, "scripted:a", "--prompt", "Hi"),
        ("bench", engine),
    ):
        done = paragone(*argv)
        assert done.returncode == 2
        assert "names several servers: only suites spread their runs over them." in said(done)


def test_the_configuration_may_have_several_servers(two, settings):
    urls = ",".join(url for _, url in two)
    settings(f'[engines.both]\nbackend = "openai"\nmodel = "m"\nurl = "{urls}"\n')
    assert paragone("config", "check").returncode == 0
    settings(f'[engines.both]\nbackend = "openai"\nmodel = "m"\nurl = "{urls},localhost:9"\n')
    done = paragone("config", "check")
    assert done.returncode == 2
    assert (
        "Write the url as http://HOST:PORT, and several of them as http://HOST:PORT,http://HOST:PORT."
        in done.stdout.decode()
    )
