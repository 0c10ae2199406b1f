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
    split_options,
)

SMOL = EngineDefinition(name="smol", backend="paper", model="smol.gguf", options={"n_ctx": 512})
ENGINES = {"smol": SMOL, "large": EngineDefinition(name="large", backend="paper", model="large.gguf")}


@pytest.mark.parametrize(
    ("spec", "name", "backend", "model", "address"),
    [
        ("llama_cpp:/m/SmolLM2.Q4_1.gguf", "SmolLM2.Q4_1", "llama_cpp", "/m/SmolLM2.Q4_1.gguf", None),
        ("exllamav2:/m/Llama-8B/", "Llama-8B", "exllamav2", "/m/Llama-8B/", None),
        ("exllamav2:.", "exllamav2", "exllamav2", ".", None),
        (
            "ollama:qwen3:8b@http://127.0.0.1:11434",
            "qwen3:8b",
            "ollama",
            "qwen3:8b",
            "http://127.0.0.1:11434",
        ),
        (
            "openai:org/model@https://user@host/v1",
            "model",
            "openai",
            "org/model",
            "https://user@host/v1",
        ),
        ("llama_cpp:/m/a@b.gguf", "a@b", "llama_cpp", "/m/a@b.gguf", None),
    ],
)
def test_an_engine_named_on_the_spot(spec, name, backend, model, address):
    expected = EngineDefinition(name=name, backend=backend, model=model, address=address)
    assert from_spec(spec) == expected


@pytest.mark.parametrize("text", ["smol", "", ":x", "llama_cpp:", "3x:y", "two words:x", "openai:@http://h"])
def test_names_that_are_not_engines_on_the_spot(text):
    assert from_spec(text) is None


def test_a_path_from_the_home_folder(home):
    definition = from_spec("llama_cpp:~/m/x.gguf")
    assert definition.model == f"{home}/m/x.gguf"
    assert from_spec("ollama:~/odd@http://h").model == "~/odd"


def test_a_configured_name_takes_precedence():
    named = EngineDefinition(name="llama_cpp:x", backend="paper", model="y")
    assert resolve("llama_cpp:x", {"llama_cpp:x": named}) is named
    assert resolve("smol", ENGINES) is SMOL


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError) as caught:
        resolve("smoll", ENGINES)
    assert "'smoll'" in caught.value.sentence
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
    ("setting", "said"),
    [
        ("temprature=1", "Did you mean 'temperature'?"),
        ("n_ctx=many", "'n_ctx' of the engine 'smol' cannot be 'many'"),
        ("temperature=-1", "at least 0"),
        ("cache=q9", "f16, q8_0"),
        ("cache", "Write key=value"),
    ],
)
def test_a_wrong_setting_is_reported(paper, setting, said):
    with pytest.raises(InputError) as caught:
        apply_settings(SMOL, paper, [setting])
    assert said in str(caught.value)


def test_options_are_split_into_load_and_sampling(paper):
    definition = EngineDefinition(
        name="x", backend="paper", model="m", options={"temperature": 1, "n_ctx": 8, "stop": ["a"]}
    )
    assert split_options(definition, paper) == ({"n_ctx": 8}, {"temperature": 1, "stop": ["a"]})


def test_an_unknown_option_names_the_engine(paper):
    definition = EngineDefinition(name="x", backend="paper", model="m", options={"temprature": 1})
    with pytest.raises(InputError, match=r"'x' has no option 'temprature'.*'temperature'"):
        split_options(definition, paper)
    definition = EngineDefinition(name="x", backend="paper", model="m", options={"n_ctx": "8"})
    with pytest.raises(InputError, match="'n_ctx' of the engine 'x' cannot be '8'"):
        split_options(definition, paper)


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("ollama:smollm2@localhost:41549", "ollama:smollm2@http://localhost:41549"),
        ("openai:org/m@127.0.0.1:8000/v1", "openai:org/m@http://127.0.0.1:8000/v1"),
        ("openai:m@[::1]:8000", "openai:m@http://[::1]:8000"),
    ],
)
def test_an_address_without_scheme_is_not_mistaken_for_a_model(spec, meant):
    with pytest.raises(InputError) as caught:
        resolve(spec, {})
    assert caught.value.hint == f"Write {meant}"


@pytest.mark.parametrize("spec", ["openai:claude@20250101", "llama_cpp:/m/a@b:1.gguf", "openai:a@b:c"])
def test_the_name_of_a_model_may_contain_an_at_sign(spec):
    assert resolve(spec, {}).model == spec.partition(":")[2]


def test_a_setting_of_one_engine_has_its_name():
    names = ["small.Q4_1", "other"]
    settings = ["top_k=3", "small.Q4_1.top_p=a.b=c", "other.seed=1", "gone.seed=2"]
    assert settings_of("small.Q4_1", settings, names) == ["top_k=3", "top_p=a.b=c", "gone.seed=2"]
    assert settings_of("other", settings, names) == ["top_k=3", "seed=1", "gone.seed=2"]


def test_a_spec_that_is_not_utf8_says_what_to_do():
    spec = os.fsdecode(b"llama_cpp:/models/caf\xe9.gguf")
    with pytest.raises(InputError, match="not UTF-8 text") as raised:
        from_spec(spec)
    assert "Rename the file" in raised.value.hint
    str(raised.value).encode()  # so that it can be shown
