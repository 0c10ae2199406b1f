import argparse
import ast
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

import paragone_cli as cli
from paragone import InputError
from paragone.texts import DISTRIBUTION
from paragone_cli.command_line.arguments import COMMON, utf8_text
from paragone_cli.commands import COMMANDS, EXAMPLES, HEADINGS, help_of, names_in
from paragone_cli.commands import parse as parse_command_line
from paragone_workbench.config.settings import Mode

from .conftest import SCHEMA, data, paragone, said


def parse(*argv):
    """The arguments of a command line, with the name of the command."""
    name, args = parse_command_line(argv)
    return SimpleNamespace(command=name, **vars(args))


PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()


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
        ("ask", "required: ENGINE", "`paragone ask --help`"),
        ("ask a b c", "c", "`paragone ask --help`"),
        ("ask a --jsn", "paragone ask has no option --jsn.", "Did you mean --json?"),
        ("--jsn", "paragone has no option --jsn.", "`paragone --help`"),
        ("ask a --set", "expected one argument", "`paragone ask --help`"),
        ("config edit", "invalid choice: 'edit'", "`paragone config --help`"),
        ("history shwo c7", "invalid choice: 'shwo'", "Did you mean show?"),
        ("compare a --schedule swop", "invalid choice: 'swop'", "Did you mean swap?"),
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
        ("suite import e1", "required: FILE", ""),
        ("suite new f", "required: --from", ""),
        (
            "history c1",
            "c1 is an id, and no subcommand of paragone history.",
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


# The page in the docs


def test_help_shows_examples_and_the_options_of_every_command_once():
    overview = help_of("")
    for name in (*EXAMPLES, *COMMANDS):
        shown = help_of(name)
        examples = EXAMPLES[name.split(" ")[0]]
        assert examples.count("\n") == 3
        assert examples in shown
        assert f"docs/command-line.md{f'#paragone-{name.split()[0]}' if name else ''}" in shown
        assert ("  --offline " in shown) == (not name)
        assert name.split(" ")[0] in overview
    assert len(EXAMPLES) - 1 <= 17
    assert re.findall(r"^([A-Z][a-z ]+):$", overview, re.MULTILINE) == [*HEADINGS]


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


@pytest.mark.parametrize("top", EXAMPLES)
def test_the_page_has_every_command_and_its_options(top):
    title = f"## paragone {top}" if top else "## The screen"
    usage = PAGE.partition(f"{title}\n")[2].partition("```\n")[2].partition("```")[0]
    said = re.sub("```.*?```", "", PAGE, flags=re.DOTALL)
    options = set()
    for name in names_in(top):
        assert re.search(rf"^paragone {name}".rstrip(), usage, re.MULTILINE)
        options |= {it.flags[-1] for it in COMMANDS[name].arguments if it.flags}
    assert set(re.findall(r"--[a-z-]+", usage)) == options
    assert all(option in said for option in {*options, *(it.flags[-1] for it in COMMON)})
    assert f"`paragone {top}".rstrip() in PAGE.partition("## Words")[0]


def test_every_command_with_json_has_a_schema():
    printing = {
        name for name, command in COMMANDS.items() if any(it.name == "json" for it in command.arguments)
    }
    shared = {name for name in printing if name.startswith("history ")} - {"history costs"}
    assert printing - shared | {"history"} <= set(SCHEMA["$defs"])


def test_the_example_on_the_page_matches_the_schema():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    data("compare", subprocess.CompletedProcess((), 0, example.encode()))
    fields = json.loads(example)["lanes"][0]
    assert set(fields) == set(SCHEMA["$defs"]["lane"]["required"])
