from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from paragone import InputError
from paragone_cli.command_line.arguments import declared, utf8_text
from paragone_cli.commands import COMMANDS, help_of, load
from paragone_cli.commands import parse as parse_command_line

from .conftest import SCHEMA, data, paragone, said


def parse(argv):
    """The arguments of a command line, with the name of the command."""
    name, args = parse_command_line(argv)
    return SimpleNamespace(command=name, **dataclasses.asdict(args))


SUITE = ("run", "list", "show", "compare", "new", "export", "import")
PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()


@pytest.mark.parametrize(
    "argv",
    [
        ("ask", "smol", "hi", "--set", "a=1", "--json", "--config", "f"),
        ("--config", "f", "--set", "a=1", "ask", "smol", "--json", "hi"),
        ("--json", "ask", "--config=f", "--set=a=1", "--", "smol", "hi"),
    ],
)
def test_options_stand_anywhere(argv):
    args = parse(argv)
    assert (args.command, args.engine, args.prompt, args.settings) == ("ask", "smol", "hi", ("a=1",))
    assert (args.config, args.json) == (Path("f"), True)


def test_every_option_with_a_number_has_bounds():
    found = {}
    for name in COMMANDS:
        for _, flags, settings in declared(load(name).arguments):
            kind = settings.get("type")
            assert kind not in (int, float), (name, flags)
            if kind not in (None, Path, utf8_text):
                found[name, *flags] = kind
    assert len(found) > 10
    for kind in found.values():
        for number in ("-1", "9" * 6000, "nan", "x"):
            with pytest.raises(argparse.ArgumentTypeError, match=r"^'.*' is not a (whole )?number from"):
                kind(number)


@pytest.mark.parametrize(
    ("option", "number", "kind"),
    [
        ("choose --margin", "inf", r"a number from 0\.1 to 99"),
        ("bench --depth", "1.5", r"a whole number from 0 to 16,777,216"),
    ],
)
def test_numbers_out_of_range(option, number, kind):
    name, flag = option.split()
    with pytest.raises(InputError, match=rf"^Argument {flag}: .* is not {kind}\."):
        parse([name, f"{flag}={number}"])


@pytest.mark.parametrize(
    "argv",
    [
        ("suite", "run", "f.jsonl", "--engines", "a", "b", "--repeat", "2"),
        ("suite", "run", "f.jsonl", "--engines", "a", "--repeat", "2", "--engines", "b"),
        ("suite", "--engines", "a", "b", "--repeat", "2", "--", "run", "f.jsonl"),
    ],
)
def test_the_engines_of_a_suite(argv):
    args = parse(argv)
    assert (args.action, args.names, args.engines, args.repetitions) == ("run", ("f.jsonl",), ("a", "b"), 2)
    assert parse(["suite", "run", "f.jsonl"]).engines == ()


@pytest.mark.parametrize("name", ["system", "preset"])
def test_a_value_is_no_command(name):
    args = parse([f"--{name}", "ask", "smol"])
    assert (args.command, getattr(args, name), args.engines) == ("", "ask", ("smol",))
    args = parse([f"--{name}", "terse", "ask", "smol"])
    assert (args.command, getattr(args, name), args.engine) == ("ask", "terse", "smol")


def test_an_engine_that_is_called_as_a_command():
    assert (parse(["--", "ask"]).command, parse(["--", "ask"]).engines) == ("", ("ask",))
    assert (parse(["ask", "ask"]).command, parse(["ask", "ask"]).engine) == ("ask", "ask")


@pytest.mark.parametrize(
    ("argv", "sentence", "hint"),
    [
        (["ask"], "required: ENGINE", "`paragone ask --help`"),
        (["ask", "a", "b", "c"], "c", "`paragone ask --help`"),
        (["ask", "a", "--jsn"], "paragone ask has no option --jsn.", "Did you mean --json?"),
        (["--jsn"], "paragone has no option --jsn.", "`paragone --help`"),
        (["ask", "a", "--set"], "expected one argument", "`paragone ask --help`"),
        (["config", "edit"], "edit", "`paragone config --help`"),
        (["engines", "--schedule"], "no option --schedule", "`paragone engines --help`"),
    ],
)
def test_what_cannot_be_read(argv, sentence, hint):
    with pytest.raises(InputError) as caught:
        parse(argv)
    assert sentence in caught.value.sentence
    assert hint in caught.value.hint


def test_a_misspelt_command():
    done = paragone("doctr")
    assert done.returncode == 2
    assert "Did you mean `paragone doctor`?" in said(done)
    done = paragone()
    assert done.returncode == 2
    assert said(done).startswith("paragone: The screen needs a terminal.\n")


def test_version():
    done = paragone("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"paragone {version('paragone')}\n")


def test_no_screen_is_loaded_but_for_the_screen():
    program = """
import sys
from paragone_cli.main import main
for argv in (["ask", "rogue:steady", "hi"], ["compare", "rogue:steady", "--prompt", "hi"], ["models", "rogue"]):
    assert main(argv) == 0, argv
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not loaded & {"textual", "rich", "sqlite3", "llama_cpp"}, (argv, loaded)
"""
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# The page in the docs


def section(name: str) -> str:
    """What the page says of a command."""
    title = f"## paragone {name}" if name else "## The screen"
    return PAGE.partition(f"{title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_page_has_every_command_and_its_options(name):
    usage = section(name).partition("```\n")[2].partition("```")[0]
    assert usage.startswith(f"paragone {name}".rstrip())
    options = set(re.findall(r"--[a-z-]+", help_of(name).partition("commands:")[0])) - {"--help"}
    assert set(re.findall(r"--[a-z-]+", usage)) == options
    said = re.sub("```.*?```", "", PAGE, flags=re.DOTALL)
    assert all(option in said for option in options)
    assert name in help_of("")
    assert name in PAGE.partition("## Words")[0]


def test_every_command_has_a_shape():
    printing = {name for name in COMMANDS if "--json" in help_of(name)} - {"config", "env", "suite"}
    actions = {"config path", "config check", "config init", "env list", *(f"suite {it}" for it in SUITE)}
    assert printing | actions <= set(SCHEMA["$defs"])


def test_the_example_has_the_shape():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    data("compare", subprocess.CompletedProcess((), 0, example.encode()))
    fields = json.loads(example)["lanes"][0]
    assert set(fields) == set(SCHEMA["$defs"]["lane"]["required"])
