import os
import re
import stat
import tomllib
from pathlib import Path

import pytest

from paragone import InputError
from paragone.json_values import object_at, value_at
from paragone.options import describe
from paragone_workbench.config.read import SECTIONS, load, load_with_problems, sample
from paragone_workbench.config.state import State
from paragone_workbench.config.toml_file import TextError, parse_toml, read_toml
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


def test_unreadable_files(tmp_path):
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


def test_a_byte_order_mark_and_a_long_text_do_no_harm(tmp_path):
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
def test_what_no_file_needs_is_refused_before_it_takes_time_and_memory(tmp_path, text, said):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(TextError) as caught:
        read_toml(path)
    assert caught.value.sentence == f"{path}:{said}"
