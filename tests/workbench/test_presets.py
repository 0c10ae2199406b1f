"""Presets and templates: read, applied, saved on the screen, and refused with what to do."""

import pytest

from paragone import InputError
from paragone_workbench.config.read import load
from paragone_workbench.config.settings import (
    Preset,
    fill_template,
    find_named,
    preset_of,
    with_preset,
)
from paragone_workbench.config.state import State, add_preset
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import state_file

LLAMA_CPP = Registry().get("llama_cpp")
SMALL = EngineDefinition(
    name="small", backend="llama_cpp", model="m.gguf", options={"n_ctx": 512, "top_k": 5}
)
CONFIG = """\
[presets.brief]
system = "Be brief."
temperature = 0.2
stop = ["."]

[presets."no system"]
max_tokens = 9

[templates]
translate = "Translate into {{ language }}: {{ prompt }}"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return load(path)


def test_they_are_read_from_the_config_and_take_precedence_over_the_engines_options(config):
    brief = Preset(name="brief", system="Be brief.", sampling={"temperature": 0.2, "stop": ["."]})
    assert config.presets == {
        "brief": brief,
        "no system": Preset(name="no system", sampling={"max_tokens": 9}),
    }
    assert config.templates == {"translate": "Translate into {{ language }}: {{ prompt }}"}
    preset = find_named("preset", "brief", config.presets)
    assert with_preset(SMALL, LLAMA_CPP, preset).options == {
        "n_ctx": 512,
        "top_k": 5,
        "temperature": 0.2,
        "stop": ["."],
    }


def test_a_preset_that_does_not_fit_the_engine_is_refused():
    for sampling, sentence, hint in (
        (
            {"temprature": 0.2},
            "sets 'temprature', which is no sampling option of the backend llama_cpp",
            "'temperature'",
        ),
        ({"temperature": "hot"}, "The option 'temperature' of the preset 'p' cannot be 'hot'.", "a number"),
    ):
        with pytest.raises(InputError) as refused:
            with_preset(SMALL, LLAMA_CPP, Preset(name="p", sampling=sampling))
        assert sentence in refused.value.sentence
        assert hint in refused.value.hint


def test_an_unknown_name_names_the_nearest(config):
    for kind, known in (("preset", config.presets), ("template", config.templates)):
        with pytest.raises(InputError, match=r"There is no .* 'brieff'") as refused:
            find_named(kind, "brieff", known)
        assert next(iter(known)) in refused.value.hint
        with pytest.raises(InputError, match=r"config\.toml has no section"):
            find_named(kind, "brief", {})


def test_a_preset_saved_on_the_screen_is_there_at_the_next_start(config, tmp_path):
    state = State(state_file())
    saved = preset_of("mine", SMALL, LLAMA_CPP, system="Be kind.")
    assert saved == Preset(name="mine", system="Be kind.", sampling={"top_k": 5})
    assert add_preset(config, state, saved) == saved
    assert add_preset(config, state, preset_of("mine", SMALL, LLAMA_CPP, system="")).system is None
    assert add_preset(config, state, Preset(name="brief")).name == "brief-2", (
        "config.toml's is never replaced"
    )
    later = load(tmp_path / "config.toml").presets
    assert later == {
        **config.presets,
        "mine": Preset(name="mine", sampling={"top_k": 5}),
        "brief-2": Preset(name="brief-2"),
    }


def test_a_template_has_its_variables_filled_in_or_says_why_not(config):
    text = config.templates["translate"]
    filled = fill_template("translate", text, {"language": "German", "prompt": "a {{ b }}"})
    assert filled == "Translate into German: a {{ b }}"
    with pytest.raises(InputError, match=r"The template 't' needs a value for: b, c\."):
        fill_template("t", "{{ a }} {{ b | upper }} {{ c }}", {"a": ""})
    with pytest.raises(InputError, match=r"The template 't' has no variable 'langage'\."):
        fill_template("t", "{{ language }}", {"langage": "x"})
