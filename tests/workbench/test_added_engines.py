"""Engines that are added on the screen are saved, and config.toml's are never replaced."""

import dataclasses
from pathlib import Path

import pytest
from rogue_backend.plugin import RogueBackend

from paragone_workbench.config import read
from paragone_workbench.config.state import State, add_engine, remove_engine
from paragone_workbench.engines.definitions import EngineDefinition, from_spec, resolve
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import state_file

CONFIGURED = "[engines.steady]\nbackend = 'rogue'\nmodel = 'wide'\n"


@pytest.fixture
def state() -> State:
    return State(state_file())


@pytest.fixture
def settings(home: Path, state: State):
    path = home / "config.toml"
    path.write_text(CONFIGURED)
    return read.load(path, state)


def written(text: str) -> EngineDefinition:
    definition = from_spec(text)
    assert definition is not None
    return definition


def test_an_added_engine_is_found_by_its_name_in_the_next_start(home, settings, state):
    now = add_engine(settings, state, written("rogue:calm"), RogueBackend())
    later = read.load(home / "config.toml")
    assert now.engines == later.engines
    assert now.added == later.added == {"calm"}
    assert resolve("calm", later.engines) == written("rogue:calm")


def test_a_name_that_is_taken_gets_a_number(settings, state):
    now = add_engine(settings, state, written("rogue:steady"), RogueBackend())
    assert now.engines["steady"].model == "wide"
    assert now.engines["steady-2"].model == "steady"
    assert list(State(state.path).saved.engines) == ["steady-2"]


def test_an_already_defined_engine_is_not_saved_again(settings, state):
    once = add_engine(settings, state, written("rogue:steady"), RogueBackend())
    assert add_engine(once, state, written("rogue:steady"), RogueBackend()) is once
    own = dataclasses.replace(written("rogue:wide"), name="steady")
    assert add_engine(settings, state, own, RogueBackend()) is settings


def test_an_engine_of_config_toml_takes_precedence_over_a_saved_one(home, settings, state):
    add_engine(settings, state, written("rogue:calm"), RogueBackend())
    (home / "config.toml").write_text("[engines.calm]\nbackend = 'rogue'\nmodel = 'mine'\n")
    later = read.load(home / "config.toml")
    assert later.engines["calm"].model == "mine"
    assert later.added == frozenset()


def test_a_path_is_saved_so_that_it_is_found_from_any_folder(settings, state, tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    now = add_engine(settings, state, written("rogue:model.gguf"), RogueBackend())
    assert now.engines["model"].model == str(tmp_path / "model.gguf")


def test_secrets_of_added_engines_are_not_saved(settings, state):
    far = EngineDefinition(
        name="far",
        backend="openai",
        model="m",
        address="http://me:s3cret@box:80/v1",
        options={"headers": ["Authorization: s3cret"], "key_command": "echo s3cret", "key_env": "BOX_KEY"},
    )
    now = add_engine(settings, state, far, Registry().get("openai"))
    assert "s3cret" not in state.path.read_text()
    assert now.engines["far"].options == {"key_env": "BOX_KEY"}
    assert now.engines["far"].address == "http://box:80/v1"


def test_a_removed_engine_is_no_longer_configured(home, settings, state):
    now = add_engine(settings, state, written("rogue:calm"), RogueBackend())
    now = remove_engine(now, state, "calm")
    assert (dict(now.engines), now.added) == (dict(settings.engines), frozenset())
    assert read.load(home / "config.toml").engines == settings.engines
