import os

import pytest

from paragone import InputError
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    apply_settings,
    from_spec,
    resolve,
    resolve_all,
    settings_of,
)

SMOL = EngineDefinition(name="smol", backend="paper", model="smol.gguf", options={"n_ctx": 512})
ENGINES = {"smol": SMOL, "large": EngineDefinition(name="large", backend="paper", model="large.gguf")}


@pytest.mark.parametrize(
    ("spec", "name", "backend", "model", "address"),
    [
        ("llama_cpp:/m/SmolLM2.Q4_1.gguf", "SmolLM2.Q4_1", "llama_cpp", "/m/SmolLM2.Q4_1.gguf", None),
        ("exllamav2:.", "exllamav2", "exllamav2", ".", None),
        ("ollama:qwen3:8b@http://h:1", "qwen3:8b", "ollama", "qwen3:8b", "http://h:1"),
        ("openai:claude@20250101", "claude@20250101", "openai", "claude@20250101", None),
        ("llama_cpp:/m/a@b.gguf", "a@b", "llama_cpp", "/m/a@b.gguf", None),
    ],
)
def test_an_engine_spec_defines_an_engine(spec, name, backend, model, address):
    expected = EngineDefinition(name=name, backend=backend, model=model, address=address)
    assert from_spec(spec) == expected


@pytest.mark.parametrize("text", ["smol", "llama_cpp:", "openai:@http://h"])
def test_texts_of_another_form_are_not_engine_specs(text):
    assert from_spec(text) is None


def test_a_configured_name_takes_precedence():
    named = EngineDefinition(name="llama_cpp:x", backend="paper", model="y")
    assert resolve("llama_cpp:x", {"llama_cpp:x": named}) is named
    assert resolve("smol", ENGINES) is SMOL


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError) as caught:
        resolve("smoll", ENGINES)
    assert "'smoll'" in caught.value.message
    assert "Did you mean 'smol'?" in caught.value.hint
    with pytest.raises(InputError, match="Known names: smol, large"):
        resolve("zzzz", ENGINES)
    with pytest.raises(InputError, match="No engines are defined yet"):
        resolve("smol", {})


def test_every_chosen_engine_has_a_unique_name():
    engines = {**ENGINES, "smol-2": EngineDefinition(name="smol-2", backend="paper", model="z")}
    names = [d.name for d in resolve_all(["smol", "smol", "smol-2", "llama_cpp:smol.gguf"], engines)]
    assert names == ["smol", "smol-3", "smol-2", "smol-4"]


def test_settings_override_the_options(paper):
    changed = apply_settings(SMOL, paper, ["n_ctx=1024", "temperature = 0", "stop=a,b", "cache=q8_0"])
    assert changed.options == {"n_ctx": 1024, "temperature": 0, "stop": ["a", "b"], "cache": "q8_0"}
    assert SMOL.options == {"n_ctx": 512}


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("ollama:smollm2@localhost:41549", "ollama:smollm2@http://localhost:41549"),
        ("openai:m@[::1]:8000", "openai:m@http://[::1]:8000"),
    ],
)
def test_an_address_without_scheme_is_refused(spec, meant):
    with pytest.raises(InputError) as caught:
        resolve(spec, {})
    assert caught.value.hint == f"Write {meant}"


def test_a_setting_can_name_one_engine():
    names = ["small.Q4_1", "other"]
    settings = ["top_k=3", "small.Q4_1.top_p=a.b=c", "other.seed=1", "gone.seed=2"]
    assert settings_of("small.Q4_1", settings, names) == ["top_k=3", "top_p=a.b=c", "gone.seed=2"]
    assert settings_of("other", settings, names) == ["top_k=3", "seed=1", "gone.seed=2"]


def test_a_spec_that_is_not_utf8_is_refused_with_a_hint():
    spec = os.fsdecode(b"llama_cpp:/models/caf\xe9.gguf")
    with pytest.raises(InputError, match="not UTF-8 text") as raised:
        from_spec(spec)
    assert "Rename the file" in raised.value.hint
    str(raised.value).encode()  # so that it can be shown
