import os

import pytest

from paragone.options import describe
from paragone_workbench.engines.registry import Registry

from .conftest import data, paragone, said

ENGINES = """
[engines.good]
backend = 'rogue'
model = 'steady'

[engines.misspelt]
backend = 'rogue'
model = 'steady'
rat = 5

[engines.strange]
backend = 'rouge'
model = 'steady'

[engines.elsewhere]
backend = 'rogue'
model = 'steady'
python = '/nowhere/python'

[engines.missing]
backend = 'rogue'
model = '/nowhere/model'

[engines."\\u001b[31mred"]
backend = 'rogue'
model = 'steady'
"""


def test_engines_are_listed_with_the_reason_why_they_cannot_run(settings):
    settings(ENGINES)
    done = paragone("engines", "--json")
    assert (done.returncode, said(done)) == (0, "")
    found = {engine["engine"]: engine for engine in data("engines list", done)["engines"]}
    assert {name for name, engine in found.items() if engine["usable"]} == {"good", "\x1b[31mred"}
    assert "no option 'rat'" in found["misspelt"]["reason"]
    assert found["misspelt"]["remedy"] == "Did you mean 'rate'?"
    assert "no backend 'rouge'" in found["strange"]["reason"]
    assert "/nowhere/python cannot be started" in found["elsewhere"]["reason"]
    assert found["elsewhere"]["python"] == "/nowhere/python"
    assert found["missing"]["reason"] == "There is no file or folder /nowhere/model."
    lines = paragone("engines").stdout.decode().splitlines()
    assert lines[0].split() == ["good", "rogue", "steady", "usable"]
    assert "not usable: The engine 'misspelt' has no option 'rat'" in lines[1]
    assert lines[5].startswith("␛[31mred")


def test_option_values_are_not_printed_because_they_may_be_keys(settings):
    settings("[engines.far]\nbackend = 'rogue'\nmodel = 'm'\napi_key = 'sk-secret'\n")
    for argv in (["engines"], ["engines", "--json"], ["config", "check"]):
        done = paragone(*argv)
        assert b"sk-secret" not in done.stdout + done.stderr


def test_an_empty_list_of_engines_gives_a_hint(settings):
    done = paragone("engines")
    assert (done.returncode, done.stdout) == (0, b"")
    assert "`paragone config init`" in said(done)
    assert data("engines list", paragone("engines", "--json")) == {"engines": []}
    settings("")
    assert "config init" not in said(paragone("engines"))


@pytest.fixture
def folder(tmp_path, settings, smollm2):
    """A folder with a real model, a file that is none, and a link under a name that could steer a terminal."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "real.gguf").symlink_to(smollm2)
    (folder / "broken.gguf").write_bytes(b"no model")
    (folder / "\x1b[31mred.gguf").symlink_to(smollm2)
    settings(f"[models]\nfolders = ['{folder}']\n")
    return folder


def test_models_are_listed_by_backend(folder, smollm2):
    done = paragone("engines", "models", "llama_cpp", "--json")
    assert (done.returncode, said(done)) == (0, "")
    found = {model["model"]: model for model in data("engines models", done)["models"]}
    real = found[str(folder / "real.gguf")]
    assert real["backend"] == "llama_cpp"
    assert real["size"] == os.stat(smollm2).st_size
    assert (real["quantization"], real["context"], real["architecture"]) == ("Q4_1", 8192, "llama")
    assert real["problem"] == ""
    assert found[str(folder / "broken.gguf")]["problem"]
    shown = paragone("engines", "models", "llama_cpp").stdout.decode()
    assert shown.split()[:5] == ["NAME", "FILE", "QUANTIZATION", "CONTEXT", "ARCHITECTURE"]
    assert any("llama_cpp:~/models/real.gguf" in line and "7 MB" in line for line in shown.splitlines())
    assert "llama_cpp:~/models/broken.gguf — " in shown
    assert "\x1b" not in shown


def test_an_unknown_backend_and_missing_folders_are_refused():
    done = paragone("engines", "models", "llama_cp")
    assert done.returncode == 2
    assert "Did you mean 'llama_cpp'?" in said(done)
    done = paragone("engines", "models", "rogue")
    assert (done.returncode, done.stdout) == (0, b"")
    assert "set `folders` under [models]" in said(done)


@pytest.mark.parametrize("backend", ["llama_cpp", "ollama"])
def test_every_option_is_listed_with_what_it_does(backend):
    done = paragone("engines", "options", backend)
    assert (done.returncode, said(done)) == (0, "")
    shown = " ".join(done.stdout.decode().split())
    found = data("engines options", paragone("engines", "options", backend, "--json"))
    kinds = Registry().get(backend)
    for name, kind in (("load", kinds.load_options), ("sampling", kinds.sampling)):
        assert [option["name"] for option in found[name]] == [info.name for info in describe(kind)]
    for option in (*found["load"], *found["sampling"]):
        assert f" {option['name']}: {option['kind']}" in shown
        assert option["doc"] in shown


def test_options_are_listed_with_their_values():
    shown = paragone("engines", "options", "llama_cpp").stdout.decode()
    assert "  min_p: number from 0 to 1, default 0.05\n      Exclude tokens whose probability" in shown
    assert "  flash_attn: auto or on or off, default auto\n" in shown
    assert max(map(len, shown.splitlines())) <= 100
