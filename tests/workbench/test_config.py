import re
import stat
from pathlib import Path

import pytest

from paragone import InputError
from paragone.json_values import object_at
from paragone.options import describe
from paragone_workbench.config.read import SECTIONS, load, load_with_problems, sample
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import config_file, state_file

ROOT = Path(__file__).parents[2]
GOOD = """\
[engines.smol]
backend = "paper"
model = "~/smol.gguf"
python = "~/venv/bin/python"
n_ctx = 512

[engines."with blanks"]
backend = "paper"
model = "x"

[models]
folders = ["~/models", "/srv"]

[lanes]
start = ["smol", "paper:other"]
mode = "sequential"

[chat]
system = "Be brief."

[ui]
theme = "nord"
markdown = false

[keys]
stop = "ctrl+x,f5"
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return write


def test_without_a_file_everything_has_its_default():
    settings_ = load()
    assert settings_.engines == {}
    assert settings_.lanes.mode == "parallel"
    assert settings_.ui.markdown is True
    assert settings_.ui.theme is None
    assert settings_.document.path == config_file()


def test_a_whole_file(write, home):
    settings_ = load(write(GOOD))
    assert list(settings_.engines) == ["smol", "with blanks"]
    assert settings_.engines["smol"] == EngineDefinition(
        name="smol",
        backend="paper",
        model=f"{home}/smol.gguf",
        python=f"{home}/venv/bin/python",
        options={"n_ctx": 512},
    )
    assert settings_.models.folders == (f"{home}/models", "/srv")
    assert settings_.lanes.start == ("smol", "paper:other")
    assert settings_.lanes.mode == "sequential"
    assert settings_.chat.system == "Be brief."
    assert settings_.ui.theme == "nord"
    assert settings_.ui.markdown is False
    assert settings_.keys == {"stop": "ctrl+x,f5"}
    assert settings_.document.where("keys", "stop").endswith("my.toml:26")
    assert settings_.warnings == ()


def test_a_default_file_that_cannot_be_accessed_is_not_taken_for_a_missing_one(monkeypatch, tmp_path):
    # a name that is too long fails for root, too
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ("x" * 300)))
    with pytest.raises(InputError, match="cannot be accessed: File name too long"):
        load()


def test_remembered_settings_override_the_file(write):
    state = State(state_file())
    state.save_engine(EngineDefinition(name="new", backend="paper", model="n"))
    state.save_engine(EngineDefinition(name="smol", backend="paper", model="changed"))
    state.set_theme("gruvbox")
    state.remember_lanes(["new", "paper:spot"])
    path = write(GOOD)
    path.chmod(0o400)
    settings_ = load(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (GOOD, 0o400), "it is never written"
    assert list(settings_.engines) == ["smol", "with blanks", "new"]
    assert settings_.engines["smol"].model != "changed", "what config.toml defines is not replaced"
    assert settings_.added == {"new"}
    assert settings_.ui.theme == "gruvbox"
    assert settings_.lanes.start == ("smol", "paper:other"), "the user's value takes precedence"
    assert load().lanes.start == ("new", "paper:spot")
    state.remember_lanes(["gone", "paper:x"])
    settings_ = load()
    assert settings_.lanes.start == ("paper:x",)
    assert "'gone'" in settings_.warnings[0]


UNCOMMENTED = re.sub(r"(?m)^#(?=[\[\w])", "", sample())


def test_the_sample_at_the_root_is_the_one_in_the_package():
    assert (ROOT / "config.toml").read_text() == sample()
    assert not (ROOT / "config.toml").is_symlink()  # in archives, the link is a copy


def test_options_in_the_sample_exist(write):
    plugin = pytest.importorskip("paragone_llama_cpp.backend")
    (backend,) = plugin.paragone_backends()
    config, problems = load_with_problems(write(UNCOMMENTED), backend={backend.name: backend}.get)
    assert (problems, len(config.engines)) == ([], 2)


def test_the_sample_shows_every_setting(write):
    shown = load(write(UNCOMMENTED)).document.data
    assert {name: {*object_at(shown, name)} for name in SECTIONS} == {
        name: {info.name for info in describe(kind)} for name, kind in SECTIONS.items()
    }
