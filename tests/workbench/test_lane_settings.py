"""The settings of a lane: values, their origin, and changes from typed text."""

import dataclasses

import pytest
from tests.workbench.lane_helpers import answers, opened

from paragone import InputError
from paragone.options import value_text
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.settings import edited, lane_settings, summary

BACKEND = Registry().get("llama_cpp")
PLAIN = EngineDefinition(name="small", backend="llama_cpp", model="m.gguf")


def with_options(**options):
    return dataclasses.replace(PLAIN, options=options)


def settings(definition, **kwargs):
    return {it.info.name: it for it in lane_settings(definition, BACKEND, **kwargs)}


def test_every_option_is_a_setting_and_sampling_comes_first():
    found = list(settings(PLAIN).values())
    assert {it.origin for it in found} == {"default"}
    reloads = [it.reloads for it in found]
    assert reloads == sorted(reloads)
    assert not found[0].reloads
    assert found[-1].reloads


def test_where_a_value_comes_from():
    configured = with_options(temperature=0.5, top_k=10)
    first = with_options(temperature=0.5, top_k=20, seed=1)
    now = with_options(temperature=0.5, top_k=20, seed=2)
    found = settings(now, configured=configured, first=first)
    assert [found[name].origin for name in ("temperature", "top_k", "seed", "top_p")] == [
        "config.toml",
        "command line",
        "here",
        "default",
    ]
    assert settings(now, first=first, first_origin="conversation")["top_k"].origin == "conversation"


def test_another_engine_is_not_an_origin():
    first = dataclasses.replace(with_options(seed=1), name="other")
    assert settings(with_options(seed=1), first=first)["seed"].origin == "here"


def test_values_in_force_are_shown_beside_the_default():
    assert settings(PLAIN, in_force={"temperature": 0.8})["temperature"].in_force == 0.8
    assert settings(PLAIN)["temperature"].in_force is None


def test_typed_text_sets_an_option_and_empty_text_resets_it():
    changed = edited(with_options(temperature=0.5, seed=3), BACKEND, {"temperature": "0.25", "seed": ""})
    assert changed.options == {"temperature": 0.25}
    assert edited(PLAIN, BACKEND, {"no_such_option": "1"}) == PLAIN


@pytest.mark.parametrize("text", ["warm", "-1", " "])
def test_a_wrong_value_is_refused(text):
    with pytest.raises(InputError, match="temperature"):
        edited(PLAIN, BACKEND, {"temperature": text})


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (0.2, "0.2"), (1.0, "1"), (0.123456789, "0.123456789"), (["a", "b"], "a,b")],
)
def test_values_as_they_are_typed(value, text):
    assert value_text(value) == text


async def test_sampling_changes_without_a_reload_and_load_options_with_one(session, rogue, workers):
    (lane,) = await opened(session, rogue(max_tokens=1))
    (pid,) = (worker.pid for worker in workers())
    await session.configure(lane, rogue(max_tokens=3))
    await answers(session, "go")
    assert lane.last_answer == "word0 word1 word2 "
    assert [worker.pid for worker in workers()] == [pid]
    await session.configure(lane, rogue(max_tokens=3, context=512))
    await lane.engine.opened()
    assert lane.engine.loaded.context == 512
    assert [worker.pid for worker in workers()] != [pid]


async def test_a_system_prompt_holds_from_the_next_prompt_on(session, rogue):
    await opened(session, rogue(max_tokens=1))
    assert session.system_prompt.after(None) == ""
    await answers(session, "one")
    session.system_prompt.change("Be brief.")
    assert session.system_prompt.after(session.prompts[-1]) == "Be brief."
    await answers(session, "two")
    await answers(session, "three")
    one, two, three = session.prompts
    assert [it.system for it in (one, two, three)] == [None, "Be brief.", None]
    assert three.system_in_force == "Be brief."
    session.system_prompt.change("")
    await answers(session, "four")
    assert session.prompts[-1].system_in_force == ""
    session.system_prompt.change("Be long.")
    edited_prompt = session.edit(one, "one, edited")
    await session.answered()
    assert edited_prompt.system_in_force == "Be long."
    session.new_conversation()
    await answers(session, "anew")
    assert session.prompts[0].system == "Be long."
