import errno
import tomllib
from pathlib import Path

import pytest

from paragone import ParagoneError
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition

SMOL = EngineDefinition(
    name="smol", backend="paper", model="/m/x", python="/p", options={"n_ctx": 8, "stop": ["a"], "none": None}
)


def test_saved_state_is_loaded_again(tmp_path):
    state = State(tmp_path / "folder/state.toml")
    state.save_engine(SMOL)
    state.remember_lanes(["smol", "smol-2"])
    state.set_theme("nord")
    again = State(state.path)
    assert again.saved.engines["smol"].options == {"n_ctx": 8, "stop": ["a"]}
    assert again.saved.engines["smol"].python == "/p"
    assert (again.saved.lanes, again.saved.theme, again.warning) == (("smol", "smol-2"), "nord", "")


SECRET = "sk-s3cret"


@pytest.mark.parametrize(
    ("url", "saved"),
    [
        (f"http://box:80/v1?key={SECRET}", "http://box:80/v1"),
        (f"http://box:80/{SECRET}/v1", "http://box:80/•••/v1"),
    ],
)
def test_a_key_anywhere_is_not_saved(tmp_path, url, saved):
    state = State(tmp_path / "state.toml")
    options = {"url": url, "key_env": SECRET, "arguments": ["--api-key", SECRET], "stop": ["a b"]}
    state.save_engine(EngineDefinition(name="a", backend="openai", model="m", address=url, options=options))
    state.remember_lanes([f"openai:m@{url}", "openai:a@b"])
    assert "s3cret" not in state.path.read_text()
    again = State(state.path).saved
    public = {"url": saved, "key_env": "•••", "arguments": ["--api-key", "•••"], "stop": ["a b"]}
    assert (again.engines["a"].address, again.engines["a"].options) == (saved, public)
    assert again.lanes == (f"openai:m@{saved}", "openai:a@b")


def test_two_instances_keep_each_others_changes(tmp_path):
    one, two = State(tmp_path / "state.toml"), State(tmp_path / "state.toml")
    one.save_engine(SMOL)
    two.set_theme("nord")
    again = State(tmp_path / "state.toml")
    assert (list(again.saved.engines), again.saved.theme) == (["smol"], "nord")


@pytest.mark.parametrize(
    "text",
    ["x = [", "[engines.a]\nmodel = 'x'\nbackend = 3"],
)
def test_a_damaged_file_is_renamed_and_reported(tmp_path, text):
    path = tmp_path / "state.toml"
    path.write_text(text)
    state = State(path)
    assert "state.toml.bad" in state.warning
    assert (tmp_path / "state.toml.bad").read_text() == text
    assert (dict(state.saved.engines), state.saved.lanes, state.saved.theme) == ({}, (), None)
    state.set_theme("nord")
    assert tomllib.loads(path.read_text()) == {"ui": {"theme": "nord"}}


def test_known_parts_of_a_file_from_a_newer_version_are_read(tmp_path):
    (tmp_path / "state.toml").write_text("future = 1\n[ui]\ntheme = 'nord'\nmore = 2\n")
    state = State(tmp_path / "state.toml")
    assert (state.saved.theme, state.warning) == ("nord", "")


def test_a_full_disk_leaves_the_old_file_and_no_temporary_files(tmp_path, monkeypatch):
    state = State(tmp_path / "state.toml")
    state.set_theme("nord")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ParagoneError, match="No space left"):
        state.set_theme("gruvbox")
    assert list(tmp_path.iterdir()) == [state.path]
    assert (state.saved.theme, State(state.path).saved.theme) == ("nord", "nord")


def test_an_unreadable_folder_is_reported(tmp_path):
    # a name that is too long fails for root, too
    path = tmp_path / ("x" * 300) / "state.toml"
    state = State(path)
    assert state.warning == f"The program's saved state in {path} cannot be accessed: File name too long."
    with pytest.raises(ParagoneError):
        state.set_theme("nord")
