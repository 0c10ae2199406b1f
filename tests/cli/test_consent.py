"""Commands with third-party documents. The server is a double that runs in a thread."""

import json
import os

import pytest
from hostile_server import OPENAI, HostileServer
from loopback_server import running_in_thread

from .conftest import data, paragone, running, said, until


@pytest.fixture
def server():
    """A double of an OpenAI-compatible server."""
    with running_in_thread(HostileServer(OPENAI)) as server:
        server.on_chat = lambda exchange: exchange.answer("VERDICT: PASS")
        yield server


@pytest.fixture
def suite(tmp_path, server):
    """A third-party suite, whose judge is at the server."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    judge = {"type": "judge", "engine": f"openai:m@{server.url}", "criterion": "good"}
    path = folder / "suite.jsonl"
    path.write_text(json.dumps({"prompt": "x", "assertions": [judge]}))
    return path


def test_a_suite_contacts_no_server_without_consent(suite, server):
    done = paragone("suite", "run", str(suite), "--engines", "scripted:a", "--system", "mine")
    assert (done.returncode, server.requests) == (2, [])
    assert f"openai:m@{server.url} gets prompts and answers, and contacts {server.url}" in said(done)
    assert "--trust" in said(done)
    done = paragone(
        "suite", "run", str(suite), "--engines", "scripted:a", "--system", "mine", "--trust", "--json"
    )
    (result,) = data("suite run", done)["runs"][0]["assertions"]
    assert result["passed"], said(done)
    sent = json.dumps([request.body for request in server.requests])
    assert "CRITERION" in sent
    assert "mine" not in sent


def test_the_users_own_engine_judges_without_asking(suite, server, settings):
    settings(f"[engines.judge]\nbackend = 'openai'\nmodel = 'm'\nurl = '{server.url}'\n")
    assert paragone("suite", "run", str(suite), "--engines", "scripted:a").returncode == 0
    suite.write_text(suite.read_text().replace(f"openai:m@{server.url}", "judge"))
    done = paragone("suite", "run", str(suite), "--engines", "scripted:a", "--fresh", "--system", "mine")
    assert done.returncode == 0, said(done)
    assert "mine" in json.dumps([request.body for request in server.requests])


def test_the_user_is_asked_once_on_a_terminal(suite, server, terminal):
    def run(answer: str) -> tuple[int | None, str]:
        before = len(terminal.written)
        argv = ("suite", "run", str(suite), "--engines", "scripted:a", "--fresh")
        with running(*argv, stdin=terminal.theirs, stderr=terminal.theirs) as process:
            if answer:
                until(lambda: terminal.take() and b"[y/N]" in terminal.written[before:], "no question")
                terminal.type(answer)
            terminal.read(process)
            return process.wait(), terminal.written[before:].decode()

    code, shown = run("n\n")
    assert (code, server.requests) == (2, [])
    assert f"contacts {server.url}" in shown
    assert run("y\n")[0] == 0
    asked = len(server.requests)
    code, shown = run("")
    assert (code, "[y/N]" in shown) == (0, False)
    assert len(server.requests) > asked


@pytest.mark.parametrize("command", [("ask", "box", "hi"), ("doctor",)])
def test_a_config_file_in_a_project_folder_runs_no_command_without_consent(command, server, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    config = project / "paragone.toml"
    config.write_text(
        f"[engines.box]\nbackend = 'openai'\nmodel = 'm'\nurl = '{server.url}'\n"
        f"key_command = 'touch {project}/owned'\n"
    )
    done = paragone(*command, "--config", str(config))
    assert (done.returncode, server.requests, os.listdir(project)) == (2, [], ["paragone.toml"])
    assert f"the engine box runs the command touch {project}/owned" in said(done)
    assert paragone("config", "check", "--config", str(config)).returncode == 0, (
        "checking does nothing of this"
    )
    paragone(*command, "--config", str(config), "--trust")
    assert (project / "owned").exists()


def test_the_users_own_config_file_needs_no_consent(server, settings):
    own = settings(f"[engines.box]\nbackend = 'openai'\nmodel = 'm'\nurl = '{server.url}'\n")
    for argv in (("ask", "box", "hi"), ("ask", "box", "hi", "--config", str(own))):
        done = paragone(*argv)
        assert (done.returncode, done.stdout) == (0, b"VERDICT: PASS\n"), said(done)


def test_a_document_to_replay_reads_no_file_without_consent(tmp_path):
    """A chat template that prints the file, and a grammar in an endless one."""
    document = tmp_path / "theirs" / "document.json"
    document.parent.mkdir()
    options = {"chat_template": "@/etc/passwd", "grammar": "@/dev/zero"}
    engine = {"name": "smol", "backend": "llama_cpp", "model": "m.gguf", "options": options}
    run = {
        "id": "e1/1", "prompt": 0, "engine": 0, "manifest": 0, "state": "done", "finish": "stop", "text": "x",
        "settings": {"seed": 7}, "request": {"cold": True, "sampling": {}},
    }  # fmt: skip
    content = {
        "paragone_document": 1, "kind": "experiment", "id": "e1", "name": "n", "created": 1.0, "engines": [engine],
        "prompts": [{"index": 0, "messages": [{"role": "user", "text": "?"}]}], "runs": [run],
        "manifests": [{"paragone": "0.1.0", "engine": {}, "weights": []}],
    }  # fmt: skip
    document.write_text(json.dumps(content))
    done = paragone("replay", str(document))
    assert (done.returncode, done.stdout) == (2, b"")
    assert "the engine smol reads /etc/passwd; the engine smol reads /dev/zero" in said(done)
    assert "--engine NAME=BACKEND:MODEL" in said(done)


def test_an_imported_conversation_sends_no_key_without_consent(server, tmp_path, monkeypatch):
    """The engine of a run, which no lane shows: a replay of the conversation would open that engine."""
    monkeypatch.setenv("MY_KEY", "of-the-user")
    path = tmp_path / "theirs" / "chat.json"
    path.parent.mkdir()
    far = {
        "name": "far",
        "backend": "openai",
        "model": "m",
        "options": {"url": server.url, "key_env": "MY_KEY"},
    }
    run = {
        "id": "r1", "prompt": 0, "engine": 1, "lane": 0, "manifest": 0, "state": "done", "finish": "stop", "text": "x",
        "request": {"sampling": {"grammar": "@/etc/passwd"}},
    }  # fmt: skip
    content = {
        "paragone_document": 1, "kind": "conversation", "id": "c1", "name": "n", "created": 1.0,
        "engines": [{"name": "m", "backend": "imported", "model": "m"}, far], "prompts": [{"text": "?"}],
        "lanes": [{"engine": 0}], "runs": [run], "manifests": [{"paragone": "0.1.0", "engine": far, "weights": []}],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    done = paragone("history", "import", str(path))
    assert (done.returncode, server.requests, paragone("history").stdout) == (2, [], b"")
    for action in (
        f"the engine far contacts {server.url}",
        "the engine far sends to its server: key_env = MY_KEY",
        "a request reads /etc/passwd",
    ):
        assert action in said(done)
    assert paragone("history", "import", str(path), "--trust").returncode == 0
    paragone("replay", "c1")
    assert server.requests
    for argv in (("history", "export", "c1"), ("report", "c1")):
        own = path.with_name(f"{argv[0]}.json")
        assert paragone(*argv, "--to", str(own)).returncode == 0
        done = paragone("history", "import", str(own))
        assert done.returncode == 0, "reading back what paragone wrote needs no consent"
        own.write_text(own.read_text().replace("http://", "http://x."))
        done = paragone("history", "import", str(own))
        assert (done.returncode, "If you consent, " in said(done)) == (2, True)


def test_consent_to_code_is_for_its_content(tmp_path):
    checks = tmp_path / "checks.py"
    checks.write_text("def check(answer, context):\n    return context['expected'] == 'x'\n")
    path = tmp_path / "suite.jsonl"
    check = {"type": "python", "file": "checks.py"}
    path.write_text(json.dumps({"prompt": "x", "expected": "x", "assertions": [check]}))
    argv = ("suite", "run", str(path), "--engines", "scripted:a", "--json")
    done = paragone(*argv)
    assert done.returncode == 2
    assert "runs Python code in checks.py (SHA-256 " in said(done)
    done = paragone(*argv, "--trust")
    assert data("suite run", done)["runs"][0]["assertions"][0]["passed"], said(done)
    checks.write_text("def check(answer, context):\n    return {'passed': False, 'reason': 'No.'}\n")
    done = paragone(*argv, "--trust")
    found = data("suite run", done)
    assert (found["known"], found["runs"][0]["assertions"][0]["reason"]) == (1, "No.")
