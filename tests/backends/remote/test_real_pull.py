"""`paragone pull` on a real Ollama, from a double of its registry with a model of another real Ollama."""

import re
import shlex
import sys
from dataclasses import dataclass

import pytest
import trustme
from bench.terminal import Terminal
from model_registry import ModelRegistry
from tests.cli.conftest import PROGRAM, paragone, said, until

from .conftest import running_ollama

pytestmark = pytest.mark.model

# What a shell does for what it runs: the terminal is the program's own, so that Ctrl+C there means it.
TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
BAR = re.compile(r"(█*)(░*) (\d+)% of 98 MB: pulling [0-9a-f]{12}")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def registry(whole_ollama, whole_ollama_folder, authority):
    """Give a registry that has the models of a real Ollama."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    with ModelRegistry(whole_ollama_folder / "models", certificate) as registry:
        yield registry


@dataclass
class Puller:
    engine: str
    large: str
    url: str
    process: object


@pytest.fixture
def puller(registry, authority, tmp_path):
    """Give a real Ollama without models, which trusts the registry, and the engines of a small and a large model there."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    folder = tmp_path / "ollama"
    folder.mkdir()
    with running_ollama(folder, SSL_CERT_FILE=str(tmp_path / "ca.pem")) as (url, process, _):
        small, large = (f"ollama:{registry.name(model)}@{url}" for model in ("smollm2", "whole"))
        yield Puller(small, large, url, process)


def answer(engine):
    settings = ("num_ctx=512", "num_thread=1", "max_tokens=8", "temperature=0", "seed=1")
    done = paragone("ask", engine, "Name three colours.", *(f"--set={setting}" for setting in settings))
    assert done.returncode == 0, said(done)
    return done.stdout.decode()


def test_what_the_hint_says_downloads_the_model_which_then_answers(ollama_server, registry, puller):
    missing = paragone("ask", puller.engine, "Hello?")
    assert missing.returncode == 2
    hint = said(missing).splitlines()[-1]
    assert hint == f"The server has no models yet. To download it: paragone pull {puller.engine}"
    program, *argv = shlex.split(hint.partition(": ")[2])
    assert program == "paragone"
    done = paragone(*argv)
    lines = said(done).splitlines()
    assert done.returncode == 0, lines
    assert done.stdout.decode() == f"{registry.name('smollm2')}: the server has the model\n"
    assert lines[0] == "paragone: pulling manifest …"
    shares = [int(share) for share in re.findall(r"(\d+)% of 7 MB: pulling", "\n".join(lines))]
    assert (
        shares[-1] == 100
    )  # the share can fall in between: Ollama begins a part of the file again when it stalls
    assert "paragone: 100% of 7 MB: verifying sha256 digest" in lines
    assert len(registry.downloads) == 4  # the model, its template, its parameters, what it is made of
    assert answer(puller.engine) == answer(f"ollama:smollm2@{ollama_server}") != "\n"


def shown(terminal):
    """Return what a bar on the screen says in per cent, if it is as long as that; 0 without one."""
    terminal.read(0.05)
    bars = [found for line in terminal.lines if (found := BAR.match(line))]
    assert len(bars) < 2
    for bar in bars:
        percent = int(bar[3])
        full = 30 * percent // 100
        # where a line is half painted, there is another look
        return percent if (len(bar[1]), len(bar[2])) == (full, 30 - full) else 0
    return 0


def test_a_bar_on_a_terminal_where_ctrl_c_stops_the_server(registry, puller):
    registry.flowing.clear()
    argv = [sys.executable, "-c", TAKE_TERMINAL, PROGRAM, "pull", puller.large]
    with Terminal(argv, 100, 10) as terminal:
        until(lambda: 50 <= shown(terminal) < 90, "it comes to the part that trickles")
        least = shown(terminal) + 3
        until(lambda: least <= shown(terminal) < 100, "it goes on")
        assert not registry.hung_up.is_set()
        terminal.send("\x03")
        until(lambda: terminal.read(0.05) == 0 and terminal.process.poll() is not None, "it ends")
        assert terminal.process.returncode == 130
        assert [line.rstrip() for line in terminal.lines if line.strip()] == [
            "paragone: No longer waiting; the server may continue the download, or keep the downloaded part."
        ]
    assert registry.hung_up.wait(60), "the server goes on downloading"
    registry.flowing.set()
    assert paragone("pull", puller.large).returncode == 0
    resumed = registry.downloads[1]
    assert (resumed.path, registry.downloads[0].begin) == (registry.downloads[0].path, 0)
    assert resumed.begin > 49_000_000


def test_a_model_that_the_registry_does_not_have(registry, puller):
    done = paragone("pull", f"ollama:{registry.name('none')}@{puller.url}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert said(done).splitlines()[-2:] == [
        f"paragone: The server at {puller.url} cannot find the model '{registry.name('none')}' to download.",
        "Check the name and tag of the model: the registry of the server does not have it.",
    ]


def test_a_registry_that_is_not_trusted(registry, ollama_server):
    """The other Ollama does not know the certificate: what the server cannot do is told in its words."""
    done = paragone("pull", f"ollama:{registry.name('none')}@{ollama_server}")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "certificate signed by unknown authority" in said(done)
    assert said(done).endswith("\nThe server itself downloads the model: can it reach the registry?\n")
