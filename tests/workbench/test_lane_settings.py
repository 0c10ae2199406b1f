"""The settings of a lane: values, their origin, and changes from typed text."""

import dataclasses

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.settings import (
    carried,
    edited,
    given_options,
    lane_settings,
    own_options,
    summary,
)

BACKEND = Registry().get("llama_cpp")
PLAIN = EngineDefinition(name="small", backend="llama_cpp", model="m.gguf")


def with_options(**options):
    return dataclasses.replace(PLAIN, options=options)


def settings(definition, *sources, **kwargs):
    return {it.info.name: it for it in lane_settings(definition, BACKEND, sources, **kwargs)}


def test_every_option_is_a_setting_and_sampling_comes_first():
    found = list(settings(PLAIN).values())
    assert {it.origin for it in found} == {"default"}
    reloads = [it.reloads for it in found]
    assert reloads == sorted(reloads)
    assert not found[0].reloads
    assert found[-1].reloads
    assert [it.info.name for it in found[:3]] == ["temperature", "max_tokens", "seed"]
    assert next(it.info.name for it in found if it.reloads) == "n_ctx"


def test_typed_text_sets_an_option_and_empty_text_resets_it():
    changed = edited(with_options(temperature=0.5, seed=3), BACKEND, {"temperature": "0.25", "seed": ""})
    assert changed.options == {"temperature": 0.25}
    assert edited(PLAIN, BACKEND, {"no_such_option": "1"}) == PLAIN


def test_the_summary_has_the_set_options_without_secrets_and_addresses():
    remote = Registry().get("openai")
    definition = EngineDefinition(
        name="there",
        backend="openai",
        model="m",
        options={"temperature": 0.1, "headers": ["Authorization: sk-secret"], "url": "http://127.0.0.1:1/v1"},
    )
    assert summary(definition, remote) == "temperature=0.1"
    assert summary(definition, None) == ""
    assert summary(PLAIN, BACKEND) == ""


OLLAMA = Registry().get("ollama")
CONFIGURED = with_options(n_gpu_layers=9, top_k=10, temperature=0.5)
NEXT = EngineDefinition(name="other", backend="ollama", model="m", options={"temperature": 0.9, "top_p": 0.5})


def carry(options, definition=NEXT, backend=OLLAMA, sources=(BACKEND,)):
    return carried(options, sources, definition, backend)


def test_values_set_by_the_user_and_by_config_toml_are_distinguished():
    engines = {"small": CONFIGURED}
    now = with_options(n_gpu_layers=9, top_k=20, temperature=0.5, seed=1)
    assert own_options(now, engines) == {"top_k": 20, "seed": 1}
    second = dataclasses.replace(now, name="small-2")
    assert own_options(second, engines) == {"top_k": 20, "seed": 1}
    elsewhere = dataclasses.replace(now, model="other.gguf")
    assert own_options(elsewhere, engines) == now.options


def test_options_are_carried_over_under_the_new_engines_names():
    found, remark = carry({"temperature": 0.0, "n_ctx": 4096, "stop": ["x"]})
    assert found.options == {"temperature": 0.0, "top_p": 0.5, "num_ctx": 4096, "stop": ["x"]}
    assert remark == "other: n_ctx is num_ctx here."
    back, _ = carry(found.options, PLAIN, BACKEND, [OLLAMA])
    assert back.options["n_ctx"] == 4096


def test_options_that_the_new_engine_lacks_are_reported():
    found, remark = carry({"n_gpu_layers": 9, "url": "http://user:pw@box", "min_p": "much", "grammar": None})
    assert found == NEXT
    assert remark == "other: it does not support n_gpu_layers=9, url=http://user:pw@box, min_p=much."


def test_files_and_servers_of_the_previous_engine_are_not_carried_over():
    found, remark = carry({"lora": "a.gguf", "n_batch": 64}, PLAIN, BACKEND)
    assert (found.options, remark) == ({"n_batch": 64}, "small: it does not support lora=a.gguf.")
    moved = carry({"url": "http://user:pw@box"}, NEXT, OLLAMA, [OLLAMA])
    assert moved == (NEXT, "other: it does not support url.")


def test_options_of_the_command_line_are_read_as_a_backend_declares_them():
    given = given_options(["n_ctx=64", "temperature = 0.5", "stop=a,b", "nothing=1"], [OLLAMA, BACKEND])
    assert given == {"n_ctx": 64, "temperature": 0.5, "stop": ["a", "b"], "nothing": "1"}
    found, remark = carry(given, sources=[OLLAMA, BACKEND])
    assert found.options["num_ctx"] == 64
    assert remark.endswith("it does not support nothing=1.")
