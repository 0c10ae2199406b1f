"""Suites, their resumption and their judges on a real Ollama and a real llama-server."""

import json
import subprocess

import pytest
from tests.cli.conftest import data, paragone, said

from .conftest import OLLAMA_PROGRAM, free_port, running_ollama

OPTIONS = ("max_tokens=4", "temperature=0", "seed=1")


@pytest.fixture
def suite(tmp_path):
    """Write a suite of two prompts, the first of which can be chosen alone: the second is left for later."""

    def write(**fields):
        path = tmp_path / "colours.jsonl"
        prompts = [
            {"prompt": "Name a colour.", "tags": ["first"], **fields},
            {"prompt": "Name another colour.", **fields},
        ]
        path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
        return str(path)

    return write


def begin(suite, engine, *options):
    """Run the first prompt of a suite."""
    return go_on(suite, engine, "--filter", "tag:first", *options)


def go_on(suite, engine, *options):
    settings = (f"--set={option}" for option in OPTIONS)
    return paragone("suite", "run", suite, "--engines", engine, *settings, "--json", *options)


def runs(done):
    assert done.returncode in (0, 1), said(done)
    return data("suite run", done)["runs"]


@pytest.fixture(scope="module")
def ollama(smollm2, smaller_smollm2, tmp_path_factory):
    """Give the URL of a real Ollama, and a function that makes its model `mine` from one of the two files."""
    folder = tmp_path_factory.mktemp("suites_ollama")
    with running_ollama(folder) as (url, _, env):

        def make(smaller=False):
            source = smaller_smollm2 if smaller else smollm2
            parameters = "PARAMETER num_ctx 512\nPARAMETER num_thread 1\n"
            (folder / "Modelfile").write_text(f"FROM {source}\n{parameters}")
            create = [str(OLLAMA_PROGRAM), "create", "mine", "-f", str(folder / "Modelfile")]
            subprocess.run(create, env=env, check=True, capture_output=True, timeout=60)

        yield url, make


@pytest.mark.server
def test_an_ollama_model_that_was_replaced_between_two_commands(suite, ollama):
    url, make = ollama
    make()
    engine, path = f"ollama:mine@{url}", suite()
    assert len(runs(begin(path, engine))) == 1
    make(smaller=True)
    refused = go_on(path, engine)
    assert refused.returncode == 1
    assert "mine is not what it was in the earlier runs of e1: " in said(refused)
    assert "the digest of mine" in said(refused)
    assert "--fresh" in said(refused)
    assert len(data("suite run", refused)["runs"]) == 1
    make()
    assert len(runs(go_on(path, engine))) == 2


@pytest.mark.server
def test_another_file_behind_the_alias_of_a_real_llama_server(
    suite, run_llama_server, smollm2, smaller_smollm2
):
    port, path = free_port(), suite()
    engine = f"openai:smollm2@http://127.0.0.1:{port}"
    server = ("-c", "512", "-np", "1")
    with run_llama_server(*server, port=port):
        assert len(runs(begin(path, engine))) == 1
    with run_llama_server(*server, port=port, model=smaller_smollm2):
        refused = go_on(path, engine)
    assert refused.returncode == 1
    assert f"the model file was {smollm2.name}" in said(refused) or "the quantization was Q4_1" in said(
        refused
    )
    with run_llama_server(*server, port=port):
        assert len(runs(go_on(path, engine))) == 2
