"""`paragone doctor` on engines at real servers and at a stopped one."""

import json
import urllib.request

import pytest
from tests.cli.conftest import paragone, said

from .conftest import free_port

pytestmark = pytest.mark.model


def get(url, body=None):
    """Ask a server without any of the code under test."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


@pytest.fixture
def doctor(home):
    """Run the program on a config.toml with these engines, each a backend and a URL; return what it printed."""

    def run(engines, *argv):
        config = home / "config" / "paragone" / "config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        table = "[engines.{}]\nbackend = '{}'\nmodel = 'smollm2'\nurl = '{}'\n"
        config.write_text("".join(table.format(name, *where) for name, where in engines.items()))
        done = paragone("doctor", *argv)
        assert (done.returncode, said(done)) == (0, "")
        return done.stdout.decode()

    return run


def test_in_lines_beside_one_that_is_not_there(doctor, llama_cpp_server, ollama_server):
    gone = f"http://127.0.0.1:{free_port()}"
    engines = {
        "far": ("ollama", ollama_server),
        "near": ("openai", llama_cpp_server[0]),
        "gone": ("ollama", gone),
    }
    part = doctor(engines).partition("\nEndpoints\n")[2].partition("\n\n")[0].splitlines()
    *part, unasked = part
    assert "Servers on this machine were not asked for models (ollama" in unasked
    heads = [line for line in part if not line.startswith("      ")]
    assert heads == [
        f"  ✓ ollama at {ollama_server}, for far",
        f"  ✓ openai at {llama_cpp_server[0]}, for near",
        f"  ✗ ollama at {gone}, for gone",
    ]
    assert f"      server: Ollama {get(f'{ollama_server}/api/version')['version']}" in part
    assert "      models: smollm2:latest" in part
    assert "      models: smollm2" in part
    assert f"      Nothing answers at {gone}: the connection was refused." in part
    assert part[-1] == "      Is the server running at this address?"
