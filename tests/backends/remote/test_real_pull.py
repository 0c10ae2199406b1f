"""`paragone pull` on a real Ollama, from a double of its registry with a model of another real Ollama."""

import re
import shlex

import pytest
import trustme
from model_registry import ModelRegistry
from tests.cli.conftest import paragone, said

from .conftest import running_ollama

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def registry(ollama_server, ollama_folder, authority):
    """Give a registry that has the models of a real Ollama."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    with ModelRegistry(ollama_folder / "models", certificate) as registry:
        yield registry


@pytest.fixture
def puller(registry, authority, tmp_path):
    """Give the URL of a real Ollama without models, which trusts the registry."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    folder = tmp_path / "ollama"
    folder.mkdir()
    with running_ollama(folder, SSL_CERT_FILE=str(tmp_path / "ca.pem")) as (url, _, _):
        yield url


def answer(engine):
    settings = ("num_ctx=512", "num_thread=1", "max_tokens=8", "temperature=0", "seed=1")
    done = paragone("ask", engine, "Name three colours.", *(f"--set={setting}" for setting in settings))
    assert done.returncode == 0, said(done)
    return done.stdout.decode()


def test_what_the_hint_says_downloads_the_model_which_then_answers(ollama_server, registry, puller):
    engine = f"ollama:{registry.name('smollm2')}@{puller}"
    missing = paragone("ask", engine, "Hello?")
    assert missing.returncode == 2
    hint = said(missing).splitlines()[-1]
    assert hint == f"The server has no models yet. To download it: paragone pull {engine}"
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
    assert answer(engine) == answer(f"ollama:smollm2@{ollama_server}") != "\n"

    none = f"ollama:{registry.name('none')}"
    done = paragone("pull", f"{none}@{puller}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert said(done).splitlines()[-2:] == [
        f"paragone: The server at {puller} cannot find the model '{registry.name('none')}' to download.",
        "Check the name and tag of the model: the registry of the server does not have it.",
    ]
    # the other Ollama does not trust the registry: what the server cannot do is told in its words
    done = paragone("pull", f"{none}@{ollama_server}")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "certificate signed by unknown authority" in said(done)
    assert said(done).endswith("\nThe server itself downloads the model: can it reach the registry?\n")
