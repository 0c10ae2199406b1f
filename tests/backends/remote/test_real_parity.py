"""SmolLM2 in process and on three servers: why the texts differ at temperature 0, and how they become the same."""

import re
import shlex

import pytest
from tests.backends.remote.conftest import LLAMA_SERVER_PROGRAM
from tests.backends.remote.test_side_by_side import compare

pytestmark = pytest.mark.model

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
SETTINGS = ["temperature=0", "max_tokens=24"]


@pytest.fixture
def engines(llama_cpp_server, whole_smollm2, whole_llama_server, whole_ollama):
    """Give the four engines: in process, llama-server, llama-cpp-python's server, Ollama."""
    return (
        f"llama_cpp:{whole_smollm2}",
        f"openai:smollm2@{whole_llama_server}",
        f"openai:smollm2@{llama_cpp_server[0]}",
        f"ollama:whole@{whole_ollama}",
    )


async def test_why_four_servers_of_one_model_differ_and_how_they_become_the_same(engines):
    found, code = await compare(*engines, settings=SETTINGS)
    assert code == 0
    local, served, python, ollama = (lane["engine"] for lane in found["lanes"])
    texts = {lane["engine"]: lane["text"] for lane in found["lanes"]}
    assert len(set(texts.values())) > 1
    parity = {finding["what"]: finding for finding in found["parity"]}

    prompt = parity["prompt tokens"]
    assert prompt["lanes"][local] == prompt["lanes"][served]
    assert prompt["lanes"][local] - prompt["lanes"][ollama] == 21  # 39 and 18 for the prompt of three words
    assert prompt["lanes"][python] is None
    assert f'{ollama} leaves out "system\\n{SYSTEM}' in prompt["sentence"]
    assert prompt["sentence"].endswith(f"--system '{SYSTEM}'")

    penalty = parity["repeat_penalty"]
    assert penalty["lanes"] == {local: 1.0, served: 1.0, python: 1.1, ollama: None}
    assert penalty["sentence"].endswith("To level it: --set repeat_penalty=1")

    unknown = found["parity_unknown"]
    for engine in (served, python, ollama):
        assert {"flash attention", "batch size", "K cache", "V cache"} <= set(unknown[engine])
    assert {"prompt", "parameters", "quantization"} <= set(unknown[python])
    assert not {"parameters", "quantization", "other samplers"} & set(unknown[served])
    assert not {"parameters", "quantization", "architecture"} & set(unknown[ollama])
    assert {"presence_penalty", "frequency_penalty"} <= set(unknown[ollama])
    assert set(unknown[local]) <= {"commit", "compiler"}, "what a library does not tell of itself"

    # what it advises, as a user would copy it
    advice = " ".join(it["sentence"].partition("To level it")[2] for it in found["parity"])
    settings = [shlex.split(it)[0] for it in re.findall(r"--set ((?:'[^']*'|\S)+)", advice)]
    penalties = ["presence_penalty=0", "frequency_penalty=0"]
    levelled, code = await compare(
        *engines, settings=[*SETTINGS, *settings, *penalties], options=["--system", SYSTEM]
    )
    assert code == 0
    left = {finding["what"] for finding in levelled["parity"]}
    # the servers have cached tokens from the run before
    assert left - {"cached tokens"} <= {"program", "build"}, levelled["parity"]
    assert "program" in left
    assert len({lane["text"] for lane in levelled["lanes"]}) == 1


async def test_flash_attention_and_batches_are_compared_where_they_are_told(smollm2):
    model = f"llama_cpp:{smollm2}"
    name = smollm2.stem
    settings = [*SETTINGS, f"{name}-2.flash_attn=on", f"{name}-2.n_batch=64", "n_threads=1"]
    found, _ = await compare(model, model, settings=settings)
    assert {it["what"]: it["lanes"] for it in found["parity"]} == {
        "flash_attn": {name: "off", f"{name}-2": "on"},
        "n_batch": {name: "128", f"{name}-2": "64"},
    }
    for finding in found["parity"]:
        assert "It changes rounding" in finding["sentence"]
    assert found["parity"][0]["sentence"].endswith("To level it: --set flash_attn=off")
    assert found["parity_unknown"] == {}


@pytest.mark.skipif(
    not LLAMA_SERVER_PROGRAM.is_file(),
    reason="the wheel's llama-server does not tell its commit: run `make llama-server`",
)
async def test_builds_are_compared_as_far_as_they_are_told(smollm2, llama_server, ollama_server):
    """The same model in process, in a llama-server of paragone's own and in one that runs, and in Ollama."""
    local, own, served = smollm2.stem, f"{smollm2.stem}-2", "smollm2"
    settings = [*SETTINGS, f"{local}.n_threads=1", f"{own}.n_threads=1", f"{own}.n_ctx=1024"]
    found, code = await compare(
        f"llama_cpp:{smollm2}",
        f"llama_server:{smollm2}",
        f"openai:smollm2@{llama_server}",
        f"ollama:smollm2@{ollama_server}",
        settings=[*settings, f"{own}.program={LLAMA_SERVER_PROGRAM}"],
    )
    assert code == 0, found
    parity = {finding["what"]: finding for finding in found["parity"]}
    ollama = found["lanes"][3]["engine"]
    assert parity["program"]["lanes"] == {
        local: "llama.cpp",
        own: "llama.cpp",
        served: "llama.cpp",
        ollama: "Ollama",
    }
    assert "Ollama in smollm2-2. Different programs round differently" in parity["program"]["sentence"]
    unknown = found["parity_unknown"]
    assert {"compiler", "instructions"} <= set(unknown[served])
    assert "commit" not in unknown[served]
    assert "compiler" not in unknown[own]
    told = {name: text or "" for name, text in parity.get("build", {"lanes": {}})["lanes"].items()}
    if local_build().name == "prebuilt":
        assert "AVX2" in told[local]
        assert "GNU" in told[own]
        assert told[local].split(",")[0] != told[own].split(",")[0], "versions"
        assert "No option removes this difference: use one build for all." in parity["build"]["sentence"]
    else:  # both are built from the sources of one package
        assert "build" not in parity


def local_build():
    """Return the build of llama.cpp that runs in process."""
    from paragone_llama_cpp.c_api import installed_builds

    return installed_builds()[0]


async def test_one_build_in_process_is_one_origin(smollm2):
    model = f"llama_cpp:{smollm2}"
    found, _ = await compare(model, model, settings=[*SETTINGS, "n_threads=1"])
    assert (found["parity"], found["parity_unknown"]) == ([], {})
