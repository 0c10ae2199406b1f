import re
import stat
from pathlib import Path

import pytest

from paragone import InputError
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


def check(*arguments, **named):
    """Return the problems in a config file."""
    return load_with_problems(*arguments, **named)[1]


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
    assert check(write(GOOD)) == []


def test_a_default_file_that_cannot_be_accessed_is_not_taken_for_a_missing_one(monkeypatch, tmp_path):
    # a name that is too long fails for root, too
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ("x" * 300)))
    with pytest.raises(InputError, match="cannot be accessed: File name too long"):
        load()


WRONG = """\
[engines.a]
backend = "paper"
modle = "x"
[engines."b.c"]
backend = 3
model = "y"
[lanes]
mode = "paralel"
start = ["a",
  "smoll"]
[chat]
sytem = "x"
[ui]
markdown = "yes"
[uii]
[keys]
stop = 1
"""


def test_every_problem_is_reported_with_its_place(write):
    problems = check(write(WRONG))
    assert [(problem.line, problem.key) for problem in problems] == [
        (1, "engines.a"),
        (5, "engines.b.c.backend"),
        (8, "lanes.mode"),
        (9, "lanes.start.1"),
        (12, "chat.sytem"),
        (14, "ui.markdown"),
        (15, "uii"),
        (17, "keys.stop"),
    ]
    said = [f"{problem.sentence} {problem.hint}" for problem in problems]
    for words, sentence in zip(
        ("'modle'", "text", "parallel, sequential", "'smoll'", "'system'", "true or false", "'ui'"),
        said,
        strict=False,
    ):
        assert words in sentence


def test_remembered_settings_override_the_file(write):
    state = State(state_file())
    state.save_engine(EngineDefinition(name="new", backend="paper", model="n"))
    state.save_engine(EngineDefinition(name="smol", backend="paper", model="changed"))
    state.set_theme("gruvbox")
    state.remember_lanes(["new", "paper:spot"])
    settings_ = load(write(GOOD))
    assert list(settings_.engines) == ["smol", "with blanks", "new"]
    assert settings_.engines["smol"].model != "changed", "what config.toml defines is not replaced"
    assert settings_.added == {"new"}
    assert settings_.ui.theme == "gruvbox"
    assert settings_.lanes.start == ("smol", "paper:other"), "the user's value takes precedence"
    assert load().lanes.start == ("new", "paper:spot")


def test_a_remembered_lane_with_a_missing_engine_does_no_harm():
    State(state_file()).remember_lanes(["gone", "paper:x"])
    settings_ = load()
    assert settings_.lanes.start == ("paper:x",)
    assert "'gone'" in settings_.warnings[0]


def test_the_users_file_is_never_written(write):
    path = write(GOOD)
    path.chmod(0o400)
    state = State(state_file())
    load(path, state)
    state.set_theme("nord")
    state.remember_lanes(["smol"])
    assert path.read_text() == GOOD
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


UNCOMMENTED = re.sub(r"(?m)^#(?=[\[\w])", "", sample())


def test_the_sample_at_the_root_is_the_one_in_the_package():
    assert (ROOT / "config.toml").read_text() == sample()
    assert not (ROOT / "config.toml").is_symlink()  # in archives, the link is a copy


def test_options_in_the_sample_exist(write):
    plugin = pytest.importorskip("paragone_llama_cpp.backend")
    (backend,) = plugin.paragone_backends()
    config, problems = load_with_problems(write(UNCOMMENTED), backend={backend.name: backend}.get)
    assert (problems, len(config.engines)) == ([], 2)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_sample_shows_every_setting(write, section):
    shown = load(write(UNCOMMENTED)).document.data[section]
    assert isinstance(shown, dict)
    assert set(shown) == {info.name for info in describe(SECTIONS[section])}
