"""The list of the commands. Finds, parses and runs the command that a command line names, and makes the help texts."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import paragone_cli as cli
from paragone import InputError
from paragone_cli.command_line import command_arguments
from paragone_cli.command_line.arguments import (
    A,
    Arguments,
    Parser,
    add_arguments,
    declared,
    parse_arguments,
    wants_help,
)
from paragone_cli.command_line.output import put, warn

if TYPE_CHECKING:  # each is imported when its command is run: see paragone_cli/__init__.py
    import paragone_cli.asking
    import paragone_cli.bench
    import paragone_cli.catalog
    import paragone_cli.choose
    import paragone_cli.fidelity
    import paragone_cli.fit
    import paragone_cli.history
    import paragone_cli.machine
    import paragone_cli.recorded
    import paragone_cli.screens
    import paragone_cli.serve
    import paragone_cli.suite
    import paragone_cli.suite_results
    import paragone_cli.voting


class Command(NamedTuple):
    summary: str
    arguments: type[Arguments]
    run: Callable[[Arguments], int]


def command(kind: type[A], run: Callable[[A], int], summary: str) -> Command:
    def checked(args: Arguments) -> int:
        assert isinstance(args, kind)
        return run(args)

    return Command(summary, kind, checked)


COMMANDS: Mapping[str, Command] = {
    "": command(
        command_arguments.ScreenArguments,
        lambda args: cli.screens.open_lanes(args),
        "Run inference engines side by side and compare their answers.",
    ),
    "demo": command(
        command_arguments.RunArguments,
        lambda args: cli.screens.open_demo(args),
        "Open the screen with two small demo models.",
    ),
    "ask": command(
        command_arguments.AskArguments,
        lambda args: cli.asking.ask(args),
        "Send a prompt to an engine and print its answer as it arrives.",
    ),
    "serve": command(
        command_arguments.ServeArguments,
        lambda args: cli.serve.serve(args),
        "Serve engines to other programs, with the protocol of OpenAI.",
    ),
    "compare": command(
        command_arguments.CompareArguments,
        lambda args: cli.asking.compare(args),
        "Send a prompt to several engines and print their answers and metrics.",
    ),
    "suite run": command(
        command_arguments.SuiteRunArguments,
        lambda args: cli.suite.suite_run(args),
        "Run the prompts in a file, or go on where an earlier run of the same command ended.",
    ),
    "suite list": command(
        command_arguments.PrintArguments,
        lambda args: cli.suite_results.suite_list(args),
        "List the experiments.",
    ),
    "suite show": command(
        command_arguments.SuiteShowArguments,
        lambda args: cli.suite_results.suite_show(args),
        "Show the results of an experiment.",
    ),
    "suite compare": command(
        command_arguments.SuiteCompareArguments,
        lambda args: cli.suite_results.suite_compare(args),
        "Compare the engines of experiments.",
    ),
    "suite new": command(
        command_arguments.SuiteNewArguments,
        lambda args: cli.suite.suite_new(args),
        "Write a file with the prompts of a conversation.",
    ),
    "suite export": command(
        command_arguments.SuiteExportArguments,
        lambda args: cli.suite.suite_export(args),
        "Write unfinished runs into a batch file for another machine.",
    ),
    "suite import": command(
        command_arguments.SuiteImportArguments,
        lambda args: cli.suite.suite_import(args),
        "Import the results of a batch file.",
    ),
    "vote cast": command(
        command_arguments.VoteArguments,
        lambda args: cli.voting.vote(args),
        "Vote blind on the answers of an experiment.",
    ),
    "vote ratings": command(
        command_arguments.RatingsArguments,
        lambda args: cli.voting.ratings(args),
        "Rate engines by the votes on their answers.",
    ),
    "choose": command(
        command_arguments.ChooseArguments,
        lambda args: cli.choose.choose(args),
        "Measure engines, and say which one to deploy, and how much quality it loses.",
    ),
    "fidelity": command(
        command_arguments.FidelityArguments,
        lambda args: cli.fidelity.fidelity(args),
        "Measure how far engines' distributions are from those of a reference.",
    ),
    "bench": command(
        command_arguments.BenchArguments,
        lambda args: cli.bench.bench(args),
        "Measure the speed of engines: prefill, decode and latency.",
    ),
    "fit": command(
        command_arguments.FitArguments,
        lambda args: cli.fit.fit(args),
        "Show how much memory an engine would take, whether that fits, and the largest context.",
    ),
    "history list": command(
        command_arguments.FindArguments,
        lambda args: cli.history.history_list(args),
        "List the conversations, the newest first, or those that pass all filters.",
    ),
    "history show": command(
        command_arguments.ConversationArguments,
        lambda args: cli.history.history_show(args),
        "Show a conversation.",
    ),
    "history search": command(
        command_arguments.FindArguments,
        lambda args: cli.history.history_search(args),
        "Find the prompts, answers and titles with these words.",
    ),
    "history continue": command(
        command_arguments.ContinueArguments,
        lambda args: cli.history.history_continue(args),
        "Let the engine of an answer write on.",
    ),
    "history rename": command(
        command_arguments.LabelArguments,
        lambda args: cli.history.history_rename(args),
        "Give a conversation another title.",
    ),
    "history tag": command(
        command_arguments.LabelArguments,
        lambda args: cli.history.history_tag(args),
        "Replace the tags of a conversation; without tags, remove them.",
    ),
    "history pin": command(
        command_arguments.ConversationArguments,
        lambda args: cli.history.history_pin(args, pinned=True),
        "List a conversation before all others.",
    ),
    "history unpin": command(
        command_arguments.ConversationArguments,
        lambda args: cli.history.history_pin(args, pinned=False),
        "List a conversation by its date again.",
    ),
    "history delete": command(
        command_arguments.DeleteArguments,
        lambda args: cli.history.history_delete(args),
        "Delete conversations for good.",
    ),
    "history export": command(
        command_arguments.HistoryExportArguments,
        lambda args: cli.history.history_export(args),
        "Write conversations into a file.",
    ),
    "history import": command(
        command_arguments.HistoryImportArguments,
        lambda args: cli.history.history_import(args),
        "Add the conversations in a file, or the prompt of an experiment's answer.",
    ),
    "history costs": command(
        command_arguments.CostsArguments,
        lambda args: cli.history.history_costs(args),
        "Add up the tokens and the time of all runs.",
    ),
    "replay": command(
        command_arguments.ReplayArguments,
        lambda args: cli.recorded.replay(args),
        "Repeat recorded runs, and show which answers differ and what has changed since.",
    ),
    "report": command(
        command_arguments.ReportArguments,
        lambda args: cli.recorded.report(args),
        "Write an experiment or a conversation into a file, to read or to share.",
    ),
    "engines list": command(
        command_arguments.PrintArguments,
        lambda args: cli.catalog.list_engines(args),
        "List the defined engines, and whether they can be used.",
    ),
    "engines models": command(
        command_arguments.OneBackendArguments,
        lambda args: cli.catalog.list_models(args),
        "List the models in the folders of config.toml and at endpoints.",
    ),
    "engines options": command(
        command_arguments.BackendArguments,
        lambda args: cli.catalog.list_options(args),
        "List the options of a backend's engines.",
    ),
    "engines pull": command(
        command_arguments.PullArguments,
        lambda args: cli.catalog.pull(args),
        "Download the model of an engine to its server.",
    ),
    "config path": command(
        command_arguments.PrintArguments,
        lambda args: cli.machine.config_path(args),
        "Print the path of config.toml.",
    ),
    "config check": command(
        command_arguments.PrintArguments,
        lambda args: cli.machine.config_check(args),
        "List the problems in config.toml.",
    ),
    "config init": command(
        command_arguments.PrintArguments,
        lambda args: cli.machine.config_path(args, create=True),
        "Create a documented sample of config.toml.",
    ),
    "config completion": command(
        command_arguments.CompletionArguments,
        lambda args: cli.machine.completion(args, program_parser(common=True)),
        "Print a script with which bash, zsh or fish complete the command line.",
    ),
    "env list": command(
        command_arguments.PrintArguments,
        lambda args: cli.machine.env_list(args),
        "List the virtual environments of backends.",
    ),
    "env create": command(
        command_arguments.CreateArguments,
        lambda args: cli.machine.env_create(args),
        "Install a backend's library in an environment of its own, after showing its size.",
    ),
    "env check": command(
        command_arguments.EnvironmentArguments,
        lambda args: cli.machine.env_check(args),
        "Import the library in an environment.",
    ),
    "env remove": command(
        command_arguments.EnvironmentArguments,
        lambda args: cli.machine.env_remove(args),
        "Delete an environment.",
    ),
    "doctor": command(
        command_arguments.OneBackendArguments,
        lambda args: cli.machine.doctor(args),
        "Show what this machine can run, and what is missing for the rest.",
    ),
}
"""The commands by name, and those of a group by both names. The empty name opens the screen."""

GROUPS: Mapping[str, str] = {
    "suite": "Run prompts from a file on several engines, and show the results.",
    "vote": "Vote blind on the answers of an experiment, and rate engines by the votes.",
    "history": "List, show, search, export and import conversations, and add up costs.",
    "engines": "List engines, the models that need no definition, and options; download models.",
    "config": "Show where config.toml is, check its content, or create a sample; complete command lines.",
    "env": "Create, list, check or remove virtual environments of backends.",
}
"""The commands that have subcommands."""

HEADINGS: Mapping[str, Sequence[str]] = {
    "Start": ("demo", "ask", "serve"),
    "Compare": ("compare", "suite", "vote", "choose"),
    "Measure": ("fidelity", "bench", "fit"),
    "History": ("history", "replay", "report"),
    "Set up": ("engines", "config", "env", "doctor"),
}
"""The commands under the headings of the help text."""

EXAMPLES: Mapping[str, str] = {
    "": """
  paragone small llama_cpp:~/models/large.gguf
  paragone small large --preset brief -s temperature=0
  paragone ollama:llama3.2@http://gpu-box:11434""",
    "demo": """
  paragone demo
  paragone demo --offline
  paragone demo -s temperature=0""",
    "ask": """
  paragone ask small 'Name three colours.'
  git diff | paragone ask small -p 'Write a commit message for this.'
  paragone ask ollama:llama3.2 -p 'Summarize this.' --attach notes.txt -s temperature=0""",
    "serve": """
  paragone serve small
  paragone serve small large --port 9000
  paragone serve llama_cpp:~/models/small.gguf --host 0.0.0.0""",
    "compare": """
  paragone compare small large -p 'Why is the sky blue?'
  paragone compare small large -p 'Hi.' -s temperature=0 -s small.n_ctx=2048 -j
  paragone compare small large --schedule sequential < question.txt""",
    "suite": """
  paragone suite run prompts.toml --engines small large
  paragone suite show e3 --failed
  paragone suite compare e3 e4 --margin 5""",
    "vote": """
  paragone vote cast e3
  paragone vote ratings
  paragone vote ratings e3 --without-named""",
    "choose": """
  paragone choose small large
  paragone choose small large --suite mine.toml --time 30m -o choice.html
  paragone choose small large --vram 24G""",
    "fidelity": """
  paragone fidelity large small
  paragone fidelity large small --text wiki.txt --max-kld 0.1
  paragone fidelity small --kv q8_0,q4_0""",
    "bench": """
  paragone bench small large
  paragone bench small --prompt-tokens 512,4096 --depth 0,8192
  paragone bench server --users 1,8,32""",
    "fit": """
  paragone fit large
  paragone fit large --ctx 32768
  paragone fit large --vram 24G,24G""",
    "history": """
  paragone history list tag:work
  paragone history show c7
  paragone history export c7 -o chat.md""",
    "replay": """
  paragone replay r45
  paragone replay e3 -s n_threads=1
  paragone replay experiment.json --engine small=llama_cpp:~/models/small.gguf""",
    "report": """
  paragone report e3 -o report.html
  paragone report c7 -o chat.md
  paragone report""",
    "engines": """
  paragone engines
  paragone engines models ollama
  paragone engines options llama_cpp""",
    "config": """
  paragone config init
  paragone config check
  paragone config completion bash > ~/.local/share/bash-completion/completions/paragone""",
    "env": """
  paragone env create exllamav3
  paragone env list
  paragone env remove exllamav3""",
    "doctor": """
  paragone doctor
  paragone doctor llama_cpp
  paragone doctor --offline -j""",
}
"""Three examples for each command, and for the screen under the empty name."""


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code. Raises ParagoneError."""
    name, args = parse(argv)
    if args is None:
        put(help_of(name).rstrip("\n"))
        return 0
    from paragone_workbench.config.network import restrict_network  # not for the help text

    if warning := restrict_network(offline=args.offline, config=args.config):
        warn(warning)
    try:
        return COMMANDS[name].run(args)
    except InputError as error:
        words = args.engines if isinstance(args, command_arguments.ScreenArguments) else ()
        known = {name.split(" ")[-1]: name for name in COMMANDS if name} | {
            name: name for name in EXAMPLES if name
        }
        if near := difflib.get_close_matches("".join(words[:1]), known, n=1):
            error.hint = f"Did you mean `paragone {known[near[0]]}`? {error.hint}".rstrip()
        raise


def parse(argv: Sequence[str]) -> tuple[str, Arguments | None]:
    """Return the name of the command, empty for the screen, and its arguments; None for help. Raises InputError."""
    name, rest = _named(argv)
    if name in COMMANDS:
        return name, parse_arguments(COMMANDS[name].arguments, _prog(name), rest)
    if not wants_help(rest):
        _parser(name).parse_args(rest)  # raises InputError, because no subcommand is named
    return name, None


_VALUED = [
    flag for it in declared(command_arguments.RunArguments) if "metavar" in it.settings for flag in it.flags
]
"""Options with a value that may precede the command's name."""


def _named(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name of the command or group, and the other arguments; an empty name if no command is named.

    Options may precede the names. After `--`, no argument is taken as a name. A group without a subcommand lists.
    """
    places = list(_words(argv))
    name = argv[places[0]] if places else ""
    if not name or name not in EXAMPLES:
        return "", argv
    named = [place for place in places[1:] if f"{name} {argv[place]}" in COMMANDS][:1]
    rest = [word for place, word in enumerate(argv) if place not in (places[0], *named)]
    if named:
        return f"{name} {argv[named[0]]}", rest
    lists = f"{name} list" in COMMANDS and places[0] + 1 not in places and not wants_help(argv)
    return f"{name} list" if lists else name, rest


def _words(argv: Sequence[str]) -> Iterator[int]:
    """Yield the places of the arguments before `--` that are no options and no values of `_VALUED`."""
    takes_value = False
    for place, word in enumerate(argv):
        if takes_value:
            takes_value = False
        elif word == "--":
            return
        elif word in _VALUED:
            takes_value = True
        elif not word.startswith("-"):
            yield place


def _prog(name: str) -> str:
    return f"paragone {name}".rstrip()


def help_of(name: str) -> str:
    """Return the help of a command or a group, or, for an empty name, of the screen with the list of commands."""
    if name:
        return _parser(name).format_help()
    usage = "paragone [ENGINE ...] [options]\n       paragone COMMAND ..."
    parser = Parser("paragone", usage=usage, description=COMMANDS[""].summary, epilog=_epilog(""))
    add_arguments(parser, (it for it in declared(command_arguments.ScreenArguments) if not it.is_common))
    add_arguments(parser.add_argument_group("options of every command"), declared(Arguments))
    return parser.format_help()


def _epilog(name: str) -> str:
    top = name.partition(" ")[0]
    lines = [f"examples:{EXAMPLES[top]}", ""]
    if name:
        lines.append("`paragone --help` shows the options of every command: --config, --offline, --trust.")
        address = f"docs/command-line.md#paragone-{top}"
    else:
        for heading, names in HEADINGS.items():
            lines += [f"{heading}:", *(f"  {it:10} {summary_of(it)}" for it in names), ""]
        lines.append(
            "See `paragone COMMAND --help`. To open an engine that has the name of a command: paragone -- ENGINE"
        )
        address = "docs/command-line.md"
    return "\n".join([*lines, f"Documentation: {address}, and `man paragone`."])


def summary_of(name: str) -> str:
    """Return the summary of a command, a group or a subcommand."""
    return GROUPS.get(name) or COMMANDS[name].summary


def names_in(top: str) -> list[str]:
    """Return the names of a group's commands, or that of a command that has no subcommands."""
    return [name for name in COMMANDS if name.startswith(f"{top} ")] if top in GROUPS else [top]


def program_parser(*, common: bool) -> Parser:
    """Return a parser with a subparser for each command, which has the options of every command if `common` is true.

    The parser lacks the engines that `paragone ENGINE` opens: argparse would take a command's name for an engine.
    """
    parser = Parser("paragone", description=COMMANDS[""].summary)
    add_arguments(parser, (it for it in declared(command_arguments.ScreenArguments) if it.flags))
    added = parser.add_subparsers(metavar="COMMAND", title="commands")
    for top in filter(None, EXAMPLES):
        _fill(added.add_parser(top, help=summary_of(top), description=summary_of(top)), top, common=common)
    return parser


def _parser(name: str) -> Parser:
    """Return the parser of a command or a group, with the texts of its help."""
    parser = Parser(_prog(name), description=summary_of(name), epilog=_epilog(name))
    _fill(parser, name)
    return parser


def _fill(parser: Parser, name: str, *, common: bool = False) -> None:
    """Add the arguments of a command, or the subcommands of a group."""
    if name not in GROUPS:
        add_arguments(parser, (it for it in declared(COMMANDS[name].arguments) if common or not it.is_common))
        return
    added = parser.add_subparsers(metavar="SUBCOMMAND", title="subcommands", required=True)
    for it in names_in(name):
        subparser = added.add_parser(it.split()[1], help=summary_of(it), description=summary_of(it))
        _fill(subparser, it, common=common)
