import argparse
import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from tests.docs.existing import is_command

import paragone_cli as cli
from paragone import InputError
from paragone.texts import DISTRIBUTION
from paragone_cli.command_line.arguments import COMMON, utf8_text
from paragone_cli.command_line.next_command import NEXT, next_command
from paragone_cli.commands import COMMANDS, EXAMPLES, HEADINGS, help_of
from paragone_cli.commands import parse as parse_command_line
from paragone_workbench.config.settings import Mode

from .conftest import SCHEMA, paragone, said


def parse(*argv):
    """The arguments of a command line, with the name of the command."""
    name, args = parse_command_line(argv)
    return SimpleNamespace(command=name, **vars(args))


PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()


@pytest.mark.parametrize(
    "argv",
    [
        ("ask", "smol", "hi", "--set", "a=1", "--json", "--config", "f"),
        ("--config", "f", "-s", "a=1", "ask", "smol", "-j", "hi"),
        ("--json", "ask", "--config=f", "--set=a=1", "--", "smol", "hi"),
    ],
)
def test_options_may_be_anywhere_on_the_command_line(argv):
    args = parse(*argv)
    assert (args.command, args.engine, args.text, args.settings) == ("ask", "smol", "hi", ["a=1"])
    assert (args.config, args.json) == (Path("f"), True)


def test_a_group_without_subcommand_lists_its_items():
    assert [
        parse(*argv.split()).command for argv in ("suite", "engines -j", "--offline history --limit 3")
    ] == ["suite list", "engines list", "history list"]
    assert parse("--json", "history", "--offline", "show", "c7").command == "history show"


def test_every_option_with_a_number_has_bounds():
    found = {}
    for name, command in COMMANDS.items():
        for it in command.arguments:
            kind = it.settings.get("type")
            assert kind not in (int, float), (name, it.flags)
            if kind not in (None, Path, utf8_text):
                found[name, *it.flags] = kind
            if it.name == "schedule":
                assert it.settings["choices"] == get_args(Mode)
    assert len(found) > 10
    for kind in found.values():
        for number in ("-1", "9" * 6000, "nan", "x"):
            with pytest.raises(argparse.ArgumentTypeError, match=r"^'.*' is not a (whole )?number from"):
                kind(number)


@pytest.mark.parametrize(
    "argv",
    [
        ("suite", "run", "f.jsonl", "--engines", "a", "b", "--repeat", "2"),
        ("suite", "run", "f.jsonl", "--engines", "a", "--repeat", "2", "--engines", "b"),
        ("suite", "run", "--engines", "a", "b", "--repeat", "2", "--", "f.jsonl"),
    ],
)
def test_engines_of_a_suite_are_read_from_the_arguments(argv):
    args = parse(*argv)
    assert (args.command, args.file, args.engines, args.repeat) == (
        "suite run",
        Path("f.jsonl"),
        ["a", "b"],
        2,
    )


def test_names_of_commands_can_be_values_or_engines():
    args = parse("--system", "ask", "smol")
    assert (args.command, args.system, args.engines) == ("", "ask", ["smol"])
    args = parse("--preset", "terse", "ask", "smol")
    assert (args.command, args.preset, args.engine) == ("ask", "terse", "smol")
    assert (parse("--", "ask").command, parse("--", "ask").engines) == ("", ["ask"])
    assert (parse("ask", "ask").command, parse("ask", "ask").engine) == ("ask", "ask")


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (
            "ask",
            "required: ENGINE",
            "Write: paragone ask ENGINE [PROMPT] [options]. See `paragone ask --help`",
        ),
        ("ask a b c", "paragone ask does not expect 'c' here.", "Put a text of several words in quotes."),
        ("ask a --jsn", "paragone ask has no option --jsn.", "Did you mean --json?"),
        ("--jsn", "paragone has no option --jsn.", "`paragone --help`"),
        ("ask a --set", "expected one argument", "`paragone ask --help`"),
        (
            "config edit",
            "paragone config has no subcommand 'edit'.",
            "Choose one of these: path, check, init",
        ),
        ("history shwo c7", "has no subcommand 'shwo'.", "Did you mean show?"),
        ("compare a --schedule swop", "no value for --schedule 'swop'.", "Did you mean swap?"),
        ("vote", "required: SUBCOMMAND", "`paragone vote --help`"),
        ("engines --schedule", "no option --schedule", "`paragone engines list --help`"),
        ("choose a b --margin=inf", "is not a number from 0.1 to 99", ""),
        ("suite run f --engines a --repeat 0", "--repeat: '0' is not a whole number from 1 to 1,000.", ""),
        ("bench a --prompt-tokens 12,x", "'x' is not a whole number from 1", ""),
        ("bench a --depth=1.5", "is not a whole number from 0 to 16,777,216", ""),
        # each action has its own options
        ("suite list --to x.jsonl", "paragone suite list has no option --to.", ""),
        ("suite export f --engines a --to b --junit j.xml", "has no option --junit", ""),
        ("suite export f --engines a", "required: -o/--to", "`paragone suite export --help`"),
        ("suite run f", "required: --engines", ""),
        ("suite import", "required: FILE", ""),
        (
            "history c1",
            "c1 is an id, not a subcommand of paragone history.",
            "Write: paragone history show c1",
        ),
        ("--json history e3", "e3 is an id", "Write: paragone suite show e3"),
        ("suite c1", "c1 is an id", "Write: paragone history show c1"),
        ("vote e3", "e3 is an id", "Write: paragone vote cast e3"),
        ("history show c1 --yes", "paragone history show has no option --yes.", ""),
        ("history export --all", "required: -o/--to", ""),
        ("env remove", "required: BACKEND", ""),
    ],
)
def test_unreadable_arguments_are_refused_with_a_hint(argv, message, hint):
    with pytest.raises(InputError) as caught:
        parse(*argv.split())
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_misspelt_command_gets_a_suggestion():
    done = paragone("doctr")
    assert done.returncode == 2
    assert "Did you mean `paragone doctor`?" in said(done)
    assert "Did you mean `paragone vote ratings`?" in said(paragone("ratings"))
    done = paragone()
    assert done.returncode == 2
    assert said(done).startswith("paragone: The screen needs a terminal.\n")


def test_the_version_is_printed():
    done = paragone("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"paragone {version(DISTRIBUTION)}\n")


def test_only_commands_with_a_screen_load_textual():
    program = """
import sys
from paragone_cli.main import main
for argv in (["ask", "rogue:steady", "hi"], ["compare", "rogue:steady", "--prompt", "hi"], ["engines", "models", "rogue"]):
    assert main(argv) == 0, argv
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not loaded & {"textual", "rich", "sqlite3", "llama_cpp"}, (argv, loaded)
"""
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_each_next_command_is_valid():
    two = ["ollama:m", "ollama:n"]
    facts: dict[str, str | list[str]] = {
        "engine": "ollama:m",
        "chosen": "ollama:m",
        "engines": two,
        "pair": two,
    }
    facts |= dict.fromkeys(("id", "compared", "unclean", "experiment"), "e3")
    facts |= {"conversation": "c7", "answer": "e3/17", "file": "a b.jsonl", "backend": "exllamav3"}
    for command, templates in NEXT.items():
        assert command in COMMANDS
        for template in templates:
            found = next_command(command, {name: facts[name] for name in re.findall(r"{(\w+)}", template)})
            assert is_command(found), found


def test_the_next_command_is_the_first_whose_facts_are_known():
    assert (
        next_command("suite run", {"id": "e3", "compared": "e3", "unclean": ""})
        == "paragone suite compare e3"
    )
    assert next_command("suite show", {"id": "e3"}) == "paragone report e3 --to e3.html"
    assert next_command("suite list", {"id": ""}) == ""
    assert next_command("fit", {"engine": "x:a b"}) == "paragone bench 'x:a b'"


def test_help_fits_on_a_screen_and_shows_examples_and_where_the_page_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name in (*EXAMPLES, *COMMANDS):
        shown, top = help_of(name), name.split(" ")[0]
        assert shown.count("\n") <= 50, name
        assert max(map(len, shown.splitlines())) <= 80, name
        assert EXAMPLES[top].count("\n") == 3
        assert EXAMPLES[top] in shown
        (anchor,) = re.findall(r"docs/commands\.md(\S*)$", shown, re.MULTILINE)
        assert anchor == (f"#paragone-{top}" if name else "")
        assert not name or f"\n## paragone {top}\n" in PAGE
        assert ("  --offline " in shown) == (not name), "the options of every command are shown once"
    assert len(EXAMPLES) - 1 <= 17
    assert re.findall(r"^(\w[a-z ]*\w) +\S+ +[A-Z]", help_of(""), re.MULTILINE) == [*HEADINGS]
    assert {name for names in HEADINGS.values() for name in names} == {*EXAMPLES} - {""}


def read_by(functions, module, name, seen=frozenset()):
    """The arguments that a function reads from `args`, itself or in a function that it passes `args` to."""
    places = [key for key in functions if key[1] == name]
    found = set()
    for key in {(module, name)} & {*places} or places:
        attributes, called = functions[key]
        found |= attributes
        for other in called - seen:
            found |= read_by(functions, key[0], other, seen | {name})
    return found


def test_a_command_reads_the_arguments_that_it_declares():
    """`Arguments` has those of all commands, so type checkers do not see this."""
    functions = {}
    for path in Path(cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found = re.findall(r"\bargs\.(\w+)", ast.unparse(node))
                called = re.findall(r"(\w+)\((?:[\w.]+, )*args\b", ast.unparse(node))
                functions[path.stem, node.name] = {*found}, {*called}
    for name, command in COMMANDS.items():
        _, module, *following = command.run.__code__.co_names  # of `lambda args: cli.module.function(args)`
        names = {it.name for it in (*command.arguments, *COMMON)}
        assert read_by(functions, module, (following or [module])[0]) | {it.name for it in COMMON} == names, (
            name
        )


def test_every_command_with_json_has_a_schema():
    printing = {
        name for name, command in COMMANDS.items() if any(it.name == "json" for it in command.arguments)
    }
    shared = {name for name in printing if name.startswith("history ")} - {"history costs"}
    assert printing - shared | {"history"} <= set(SCHEMA["$defs"])
