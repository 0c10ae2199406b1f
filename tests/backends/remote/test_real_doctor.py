"""`paragone doctor` on engines at real servers and at a stopped one."""

import json
import time
import urllib.request

import pytest
from tests.cli.conftest import paragone, said

from paragone.texts import size_text

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


@pytest.fixture
def unload(ollama_server):
    """Load the model at the real Ollama as another program would, and give a function that unloads it."""

    def load(**how):
        options = {"num_ctx": 512, "num_thread": 1}
        get(f"{ollama_server}/api/generate", {"model": "smollm2", "options": options, **how})

    def unload_it():
        load(keep_alive=0)
        deadline = time.monotonic() + 20
        while get(f"{ollama_server}/api/ps")["models"]:
            assert time.monotonic() < deadline, "Ollama does not unload the model"
            time.sleep(0.05)

    load()
    yield unload_it
    unload_it()


def test_a_real_ollama(doctor, ollama_server, unload):
    def endpoint():
        (found,) = json.loads(doctor({"far": ("ollama", ollama_server)}, "--json"))["endpoints"]
        return found

    (running,) = get(f"{ollama_server}/api/ps")["models"]
    found = endpoint()
    assert (found["backend"], found["address"], found["engines"]) == ("ollama", ollama_server, ["far"])
    assert (found["usable"], found["reason"], found["models"]) == (True, "", ["smollm2:latest"])
    size, in_vram = running["size"], running["size_vram"] / running["size"]
    assert found["facts"] == {
        "server": f"Ollama {get(f'{ollama_server}/api/version')['version']}",
        "models": "1",
        "loaded": f"smollm2:latest ({size_text(size)}, {in_vram:.0%} in VRAM)",
    }
    unload()
    assert "loaded" not in endpoint()["facts"]


def test_a_real_openai_compatible_server(doctor, llama_cpp_server):
    import llama_cpp

    url = llama_cpp_server[0]
    engines = {"near": ("openai", url), "same": ("openai", f"{url}/v1/")}
    (found,) = json.loads(doctor(engines, "--json"))["endpoints"]
    assert (found["backend"], found["address"], found["engines"]) == ("openai", url, ["near", "same"])
    assert (found["usable"], found["reason"], found["models"]) == (True, "", ["smollm2"])
    # it has one model, loads it as it starts, and tells nothing more
    assert found["facts"] == {"server": f"llama-cpp-python {llama_cpp.__version__}", "models": "1"}


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
