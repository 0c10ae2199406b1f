"""SmolLM2 in process and on three servers: why the texts differ at temperature 0, and how they become the same."""

import asyncio
import json
import re
import shlex

import pytest
from tests.cli.conftest import forked

pytestmark = pytest.mark.model

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
SETTINGS = ["temperature=0", "max_tokens=24"]


async def compare(*engines, prompt="What is the sea?", settings=(), options=()):
    """Run `paragone compare --json` and return what it printed, with its exit code."""
    command = ["compare", "--json", "--prompt", prompt, *options, *engines]
    command += [word for setting in settings for word in ("--set", setting)]
    done = await asyncio.to_thread(forked, *command)
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout), done.returncode


@pytest.fixture
def engines(llama_cpp_server, whole_smollm2, whole_llama_server, whole_ollama):
    """Give the four engines: in process, llama-server, llama-cpp-python's server, Ollama."""
    return (
        f"llama_cpp:{whole_smollm2}",
        f"openai:smollm2@{whole_llama_server}",
        f"openai:smollm2@{llama_cpp_server[0]}",
        f"ollama:whole@{whole_ollama}",
    )


async def test_differences_between_four_servers_are_found_and_levelled(engines):
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
    assert f'{ollama} omits "system\\n{SYSTEM}' in prompt["sentence"]
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


async def test_penalties_count_the_prompt_in_process_and_at_a_server(whole_smollm2, whole_llama_server):
    engines = f"llama_cpp:{whole_smollm2}", f"openai:smollm2@{whole_llama_server}"
    prompt = "Continue: 7 7 7 7 7 7 7 7"
    answers = []
    for penalties in [], ["repeat_penalty=50"]:
        found, code = await compare(
            *engines, prompt=prompt, settings=["temperature=0", "max_tokens=6", *penalties]
        )
        assert code == 0
        answers.append([lane["text"] for lane in found["lanes"]])
    free, penalized = answers
    assert all("7" in text for text in free), free
    assert not any("7" in text for text in penalized), penalized
