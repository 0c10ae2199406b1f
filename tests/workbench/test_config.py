import errno
import os
import re
import stat
import tomllib
from pathlib import Path

import pytest

from paragone import InputError, ParagoneError
from paragone.json_values import object_at, value_at
from paragone.options import describe
from paragone_workbench.config.read import SECTIONS, load, load_with_problems, sample
from paragone_workbench.config.settings import Preset, fill_template, find_named, preset_of, with_preset
from paragone_workbench.config.state import State, add_preset
from paragone_workbench.config.toml_file import TextError, parse_toml, read_toml
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
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


def test_every_setting_of_a_file_is_read(write, home):
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
    assert settings_.presets == {
        "brief": Preset(name="brief", system="Be brief.", sampling={"temperature": 0.2, "stop": ["."]}),
        "no system": Preset(name="no system", sampling={"max_tokens": 9}),
    }
    assert settings_.templates == {"translate": "Translate into {{ language }}: {{ prompt }}"}


def test_an_inaccessible_default_file_raises_an_error(monkeypatch, tmp_path):
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


def test_the_sample_in_the_repository_equals_the_one_in_the_package():
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


# Presets and templates: applied, saved on the screen, and refused with what to do

LLAMA_CPP = Registry().get("llama_cpp")
SMALL = EngineDefinition(
    name="small", backend="llama_cpp", model="m.gguf", options={"n_ctx": 512, "top_k": 5}
)


@pytest.fixture
def config(write):
    return load(write(GOOD))


def test_a_preset_takes_precedence_over_the_engines_options(config):
    preset = find_named("preset", "brief", config.presets)
    assert with_preset(SMALL, LLAMA_CPP, preset).options == {
        "n_ctx": 512,
        "top_k": 5,
        "temperature": 0.2,
        "stop": ["."],
    }


def test_a_preset_with_options_that_the_engine_lacks_is_refused():
    for sampling, message, hint in (
        (
            {"temprature": 0.2},
            "sets 'temprature', which is not a sampling option of the backend llama_cpp",
            "'temperature'",
        ),
        ({"temperature": "hot"}, "The option 'temperature' of the preset 'p' cannot be 'hot'.", "a number"),
    ):
        with pytest.raises(InputError) as refused:
            with_preset(SMALL, LLAMA_CPP, Preset(name="p", sampling=sampling))
        assert message in refused.value.message
        assert hint in refused.value.hint


def test_the_error_for_an_unknown_name_suggests_the_nearest(config):
    for kind, known in (("preset", config.presets), ("template", config.templates)):
        with pytest.raises(InputError, match=r"There is no .* 'brieff'") as refused:
            find_named(kind, "brieff", known)
        assert next(iter(known)) in refused.value.hint
        with pytest.raises(InputError, match=r"config\.toml has no section"):
            find_named(kind, "brief", {})


def test_a_preset_saved_on_the_screen_is_loaded_at_the_next_start(config, tmp_path):
    state = State(state_file())
    saved = preset_of("mine", SMALL, LLAMA_CPP, system="Be kind.")
    assert saved == Preset(name="mine", system="Be kind.", sampling={"top_k": 5})
    assert add_preset(config, state, saved) == saved
    assert add_preset(config, state, preset_of("mine", SMALL, LLAMA_CPP, system="")).system is None
    assert add_preset(config, state, Preset(name="brief")).name == "brief-2", (
        "config.toml's is never replaced"
    )
    later = load(tmp_path / "my.toml").presets
    assert later == {
        **config.presets,
        "mine": Preset(name="mine", sampling={"top_k": 5}),
        "brief-2": Preset(name="brief-2"),
    }


def test_a_template_is_filled_in_or_refused_with_the_reason(config):
    text = config.templates["translate"]
    filled = fill_template("translate", text, {"language": "German", "prompt": "a {{ b }}"})
    assert filled == "Translate into German: a {{ b }}"
    with pytest.raises(InputError, match=r"The template 't' needs a value for: b, c\."):
        fill_template("t", "{{ a }} {{ b | upper }} {{ c }}", {"a": ""})
    with pytest.raises(InputError, match=r"The template 't' has no variable 'langage'\."):
        fill_template("t", "{{ language }}", {"langage": "x"})


# The saved state

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
def test_secret_keys_are_not_saved_in_the_state(tmp_path, url, saved):
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
def test_a_damaged_state_file_is_renamed_and_reported(tmp_path, text):
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


# TOML files

TEXT = '''\
# comment [not.a.table]
top = 1
[engines.a]  # [engines.b]
model = """
[engines.c]
x = 1
"""
other = \'\'\'
y = "
\'\'\'
n.o.p = 1.5
[engines."dotted.name"]
"quoted key" = 'a # b = c'
\'lit\' = "esc \\" = ]"
when = 1979-05-27 07:32:00
list = [
  1, # one
  "two]",

  { inside = 1, deep = { er = 2 } },
  [3,
   4],
]
inline = { a = 1, "b c".d = [1, 2] }
[[many]]
z = 1
[[many]]
z = 2
[many.sub]
q = 3
'''


def test_every_kind_of_key_is_found_and_a_missing_key_has_the_line_of_its_table(tmp_path):
    document = parse_toml(tmp_path / "c.toml", TEXT)
    name = ("engines", "dotted.name")
    expected = {
        ("top",): 2,
        ("engines",): 3,
        ("engines", "a"): 3,
        ("engines", "a", "model"): 4,
        ("engines", "a", "other"): 8,
        ("engines", "a", "n", "o", "p"): 11,
        name: 12,
        (*name, "quoted key"): 13,
        (*name, "lit"): 14,
        (*name, "when"): 15,
        (*name, "list"): 16,
        (*name, "inline"): 24,
        ("many", 0, "z"): 26,
        ("many", 1): 27,
        ("many", 1, "z"): 28,
        ("many", 1, "sub", "q"): 30,
    }
    assert {key: document.lines[key] for key in expected} == expected
    assert not any("c" in key or "not" in key for key in document.lines)
    assert document.line("engines", "a", "backend") == 3
    assert document.line("nowhere") == 1
    assert document.line(*name, "list", 2) == 16
    assert document.where("engines", "a") == f"{tmp_path}/c.toml:3"
    assert value_at(document.data, *name, "when") == "1979-05-27T07:32:00"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = \n", 2), ("x = 1\n\ny = [1,\n", 3)],
)
def test_invalid_toml_is_reported_with_its_line(tmp_path, text, line):
    with pytest.raises(TextError) as caught:
        parse_toml(tmp_path / "c.toml", text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{tmp_path}/c.toml:{line}: The file is not valid TOML: ")
    assert "(at" not in str(caught.value)


def test_unreadable_files_raise_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(InputError, match="cannot be read"):
            read_toml(path)
    (tmp_path / "latin.toml").write_bytes("a = 1\nb = 'é'".encode("latin-1"))
    with pytest.raises(TextError, match=r"latin\.toml:2: The file is not UTF-8"):
        read_toml(tmp_path / "latin.toml")
    os.truncate(tmp_path / "latin.toml", 2**22 + 1)
    with pytest.raises(InputError, match=r"latin\.toml is larger than 4 MiB\."):
        read_toml(tmp_path / "latin.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InputError, match="is not a regular file"):
        read_toml(tmp_path / "pipe.toml")


def test_a_byte_order_mark_and_a_long_text_are_read(tmp_path):
    text = f"a = '{'1.2' * 1000}{'.' * 1000}'"
    (tmp_path / "c.toml").write_text("\ufeff" + text)
    assert read_toml(tmp_path / "c.toml").data == tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nx = " + "[" * 101 + "1" + "]" * 101, "2: A value is nested in more than 100 levels."),
        ("[x" + ".x" * 60 + "]\nx" + ".x" * 60 + " = 1", "2: A value is nested in more than 100 levels."),
        ('x = """\n"""\ny' + ".y" * 2**20 + " = 1", "3: A value is nested in more than 100 levels."),
        ("a = " + "[" * 2**20, "1: A value is nested in more than 100 levels."),
        ("a = 1\nb = [1, inf]", "2: inf is not a finite number."),
    ],
    ids=["arrays", "table and key", "key", "brackets", "infinity"],
)
def test_huge_or_deeply_nested_files_are_refused_early(tmp_path, text, said):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(TextError) as caught:
        read_toml(path)
    assert caught.value.message == f"{path}:{said}"
