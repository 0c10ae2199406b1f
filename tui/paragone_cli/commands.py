"""The list of the commands with their arguments. Finds and runs the command that a command line names, and explains
commands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import paragone_cli as cli
from paragone import InputError
from paragone_cli.command_line import arguments
from paragone_cli.command_line.arguments import COMMON, Argument, Arguments, Parser, arg
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


class Command(NamedTuple):
    summary: str
    run: Callable[[Arguments], int]
    arguments: Sequence[Argument]


def command(summary: str, run: Callable[[Arguments], int], *own: Argument) -> Command:
    return Command(summary, run, own)


COMMANDS: Mapping[str, Command] = {
    "": command(
        "Run inference engines side by side and compare their answers.",
        lambda args: cli.screens.open_lanes(args),
        arg("ENGINE", f"an engine to open in a lane: {arguments.ENGINE}", dest="engines", nargs="*"),
        arg("--version", "show the version and exit"),
        *arguments.REQUEST,
    ),
    "demo": command(
        "Open the screen with two small demo models.",
        lambda args: cli.screens.open_demo(args),
        *arguments.REQUEST,
    ),
    "ask": command(
        "Send a prompt to an engine and print its answer as it arrives.",
        lambda args: cli.asking.ask(args),
        arguments.ONE_ENGINE,
        arg("PROMPT", "the prompt, instead of --prompt", dest="text", nargs="?"),
        *arguments.PROMPTED,
    ),
    "serve": command(
        "Serve engines to other programs, with the protocol of OpenAI.",
        lambda args: cli.serve.serve(args),
        arg("ENGINE", f"an engine to serve under its name: {arguments.ENGINE}", dest="engines", nargs="+"),
        arg(
            "--host ADDRESS",
            "IP address of this machine to listen at; 0.0.0.0 for all. Default: 127.0.0.1, for this machine alone",
            default="127.0.0.1",
        ),
        arg("--port N", "port; 0 for a free one. Default: 8321", within=(0, 65535), default=8321),
        arg("--no-key", "let every program on this machine use the engines, without a key"),
        arguments.SET,
    ),
    "compare": command(
        "Send a prompt to several engines and print their answers and metrics.",
        lambda args: cli.asking.compare(args),
        arguments.ENGINES,
        arguments.schedule("that of config.toml"),
        *arguments.PROMPTED,
    ),
    "suite run": command(
        "Run the prompts in a file, or go on where an earlier run of the same command ended.",
        lambda args: cli.suite.suite_run(args),
        arguments.schedule("swap; `sequential` lets their speeds be compared"),
        arg(
            "--on CLUSTER",
            "execute the runs on a Ray cluster: `ray` for the cluster of this machine, or HOST:PORT of its head",
        ),
        arg("--junit FILE", "write the results to FILE as JUnit XML"),
        *arguments.SUITE,
    ),
    "suite list": command(
        "List the experiments.", lambda args: cli.suite_results.suite_list(args), arguments.JSON
    ),
    "suite show": command(
        "Show the results of an experiment.",
        lambda args: cli.suite_results.suite_show(args),
        arguments.ONE_EXPERIMENT,
        arg("--failed", "only runs that failed, or that an assertion did not pass"),
        arguments.JSON,
    ),
    "suite compare": command(
        "Compare the engines of experiments.",
        lambda args: cli.suite_results.suite_compare(args),
        arg("EXPERIMENT", arguments.EXPERIMENT, dest="experiments", nargs="*"),
        arg("--all-pairs", "compare all pairs of engines, not each engine with the reference"),
        arguments.MARGIN,
        arguments.JSON,
    ),
    "suite new": command(
        "Write a file with the prompts of a conversation.",
        lambda args: cli.suite.suite_new(args),
        arg("FILE", "the file to write"),
        arg("--from ID", "the conversation, such as c7", dest="source", required=True),
        arg("--lane NAME", "the lane whose prompts and answers are taken; by default the first open one"),
        arguments.FORCE,
        arguments.JSON,
    ),
    "suite export": command(
        "Write unfinished runs into a batch file for another machine.",
        lambda args: cli.suite.suite_export(args),
        arg(
            "-o --to FILE",
            "the batch file; of several engines, one each, with its name",
            dest="batch",
            required=True,
        ),
        arguments.FORCE,
        *arguments.SUITE,
    ),
    "suite import": command(
        "Import the results of a batch file.",
        lambda args: cli.suite.suite_import(args),
        arg("EXPERIMENT", "the id of an experiment, such as e3"),
        arg("FILE", "files of results", dest="files", nargs="+"),
        arguments.JSON,
    ),
    "vote cast": command(
        "Vote blind on the answers of an experiment.",
        lambda args: cli.suite_results.vote(args),
        arguments.ONE_EXPERIMENT,
    ),
    "vote ratings": command(
        "Rate engines by the votes on their answers.",
        lambda args: cli.suite_results.ratings(args),
        arg("EXPERIMENT", "only votes on this experiment, such as e3", nargs="?"),
        arg("--all", "also count votes that were not blind"),
        arg("--without-named", "without votes in which an answer names its engine or model"),
        arguments.JSON,
    ),
    "choose": command(
        "Measure engines, and say which one to deploy, and how much quality it loses.",
        lambda args: cli.choose.choose(args),
        arguments.ENGINES,
        arg(
            "--reference ENGINE",
            "the engine among these with whose quality the others are compared; by default that with the largest file",
        ),
        arg("--suite FILE", "prompts with assertions; by default those of paragone"),
        arguments.MARGIN,
        arg(
            "--vram SIZE",
            "choose an engine for GPUs with this much free memory each, such as 24G, 24GB or 24G,24G; by default for this machine",
        ),
        arg("--time DURATION", "end by then, such as 30m; by default when all is measured"),
        arg("--fresh", "measure everything again"),
        arg("-o --to FILE", "also write a report; the name ends in .html, .md, .csv or .json"),
        arg("--force", "replace any file; by default only an unchanged report of the same choice"),
        *arguments.REQUEST,
        arguments.JSON,
    ),
    "fidelity": command(
        "Measure how far engines' distributions are from those of a reference.",
        lambda args: cli.fidelity.fidelity(args),
        arg("REFERENCE", f"the engine to measure against: {arguments.ENGINE}", dest="engine"),
        arg("CANDIDATE", "an engine to measure, named in the same way", dest="engines", nargs="*"),
        arg(
            "--kv TYPES",
            "also measure REFERENCE with these types of its KV cache, separated by commas, such as q8_0,q4_0; REFERENCE itself "
            "then has the default type",
        ),
        arg(
            "--text FILE",
            "the text to measure on, in UTF-8; by default a short one of paragone",
            dest="text_file",
        ),
        arg(
            "--window N",
            "size in tokens of the windows of the text; the second half of each window is scored; by default 512",
            within=(8, arguments.MOST_TOKENS),
            default=512,
        ),
        arg(
            "--max-kld LIMIT",
            "exit with code 1 if the mean KLD of a candidate is above LIMIT (in nats), or unknown",
            within=(0.0, 1000.0),
        ),
        arg("--free-running", "also compare the engines' greedy answers to prompts"),
        arg("--prompts FILE", "the suite for --free-running; by default that of paragone"),
        arguments.SET,
        arguments.JSON,
    ),
    "bench": command(
        "Measure the speed of engines: prefill, decode and latency.",
        lambda args: cli.bench.bench(args),
        arguments.ENGINES,
        arg(
            "--prompt-tokens N,N,…",
            "lengths of the prompt in tokens; by default 512",
            within=(1, arguments.MOST_TOKENS),
            default=[512],
        ),
        arg(
            "--depth N,N,…",
            "numbers of tokens in the KV cache before the prompt; by default 0",
            within=(0, arguments.MOST_TOKENS),
            default=[0],
        ),
        arg(
            "--tokens N", "tokens to generate; by default 128", within=(1, arguments.MOST_TOKENS), default=128
        ),
        arg("--repeat N", "runs of each test; by default 5", within=(1, 1000), default=5),
        arg(
            "--users N,N,…",
            "also measure the throughput with these numbers of users at once",
            within=(1, 256),
            default=[],
        ),
        arguments.SET,
        arguments.JSON,
    ),
    "fit": command(
        "Show how much memory an engine would take, whether that fits, and the largest context.",
        lambda args: cli.fit.fit(args),
        arguments.ONE_ENGINE,
        arg("--ctx N", "with this context window in tokens", within=(1, arguments.MOST_TOKENS)),
        arg("--vram SIZE", "for GPUs with this much free memory each, such as 24G or 24G,24G"),
        arguments.SET,
        arguments.JSON,
    ),
    "history list": command(
        "List the conversations, the newest first, or those that pass all filters.",
        lambda args: cli.history.history_list(args),
        *arguments.FOUND,
    ),
    "history show": command(
        "Show a conversation.",
        lambda args: cli.history.history_show(args),
        arguments.CONVERSATION,
        arguments.JSON,
    ),
    "history search": command(
        "Find the prompts, answers and titles with these words.",
        lambda args: cli.history.history_search(args),
        *arguments.FOUND,
    ),
    "history continue": command(
        "Let the engine of an answer write on.",
        lambda args: cli.history.history_continue(args),
        arg("RUN", "an answer, such as r45", dest="answer"),
        arguments.JSON,
    ),
    "history rename": command(
        "Give a conversation another title.",
        lambda args: cli.history.history_rename(args),
        *arguments.LABELLED,
    ),
    "history tag": command(
        "Replace the tags of a conversation; without tags, remove them.",
        lambda args: cli.history.history_tag(args),
        *arguments.LABELLED,
    ),
    "history pin": command(
        "List a conversation before all others.",
        lambda args: cli.history.history_pin(args, pinned=True),
        arguments.CONVERSATION,
        arguments.JSON,
    ),
    "history unpin": command(
        "List a conversation by its date again.",
        lambda args: cli.history.history_pin(args, pinned=False),
        arguments.CONVERSATION,
        arguments.JSON,
    ),
    "history delete": command(
        "Delete conversations for good.",
        lambda args: cli.history.history_delete(args),
        arg("ID", "the conversations, such as c7", dest="conversations", nargs="+"),
        arguments.YES,
        arguments.JSON,
    ),
    "history export": command(
        "Write conversations into a file.",
        lambda args: cli.history.history_export(args),
        arg("ID", "the conversations, such as c7", dest="conversations", nargs="*"),
        arg("--all", "all conversations"),
        arg(
            "-o --to FILE",
            "the file; its name ends in .jsonl or .json (everything; `paragone history import` reads it) or .md (to read)",
            dest="file",
            required=True,
        ),
        arguments.FORCE,
        arguments.JSON,
    ),
    "history import": command(
        "Add the conversations in a file, or the prompt of an experiment's answer.",
        lambda args: cli.history.history_import(args),
        arg(
            "FILE",
            "a file with conversations; or e3/17 for the prompt of that answer",
            dest="source",
            type=None,
        ),
        arguments.JSON,
    ),
    "history costs": command(
        "Add up the tokens and the time of all runs.",
        lambda args: cli.history.history_costs(args),
        arg("--since TIME", "only runs since 2026-11-01, or of the last days or hours: 7d, 24h"),
        arg(
            "--price PROVIDER:MODEL",
            "the model of a provider whose prices are shown; may be repeated. By default a small open model and a large one",
            action="append",
        ),
        arguments.JSON,
    ),
    "replay": command(
        "Repeat recorded runs, and show which answers differ and what has changed since.",
        lambda args: cli.recorded.replay(args),
        arg(
            "RUN|EXPERIMENT|FILE",
            "a run (r45, or e3/17 of an experiment), a conversation (c7), an experiment (e3), or a document in JSON "
            "that `paragone report` wrote; `paragone history` lists conversations and their runs, `paragone suite list` "
            "experiments, and `paragone suite show` their runs",
            dest="target",
        ),
        arg(
            "--engine NAME=ENGINE",
            "use this engine instead of the recorded one of that name; may be repeated",
            dest="replacements",
            action="append",
        ),
        arguments.SET,
        arguments.JSON,
    ),
    "report": command(
        "Write an experiment or a conversation into a file, to read or to share.",
        lambda args: cli.recorded.report(args),
        arg(
            "ID",
            "an experiment, such as e3, or a conversation, such as c7; without an id, the newest are listed",
            dest="subject",
            nargs="?",
        ),
        arg(
            "-o --to FILE",
            "the file; its name ends in .html (a page to read), .md (Markdown), .csv (a row for each run) "
            "or .json (everything, for other programs)",
        ),
        arguments.FORCE,
    ),
    "engines list": command(
        "List the defined engines, and whether they can be used.",
        lambda args: cli.catalog.list_engines(args),
        arguments.JSON,
    ),
    "engines models": command(
        "List the models in the folders of config.toml and at endpoints.",
        lambda args: cli.catalog.list_models(args),
        arguments.ONE_BACKEND,
        arguments.JSON,
    ),
    "engines options": command(
        "List the options of a backend's engines.",
        lambda args: cli.catalog.list_options(args),
        arg("BACKEND", "the name of a backend; `paragone doctor` lists the backends"),
        arguments.JSON,
    ),
    "engines pull": command(
        "Download the model of an engine to its server.",
        lambda args: cli.catalog.pull(args),
        arguments.ONE_ENGINE,
    ),
    "config path": command(
        "Print the path of config.toml.", lambda args: cli.machine.config_path(args), arguments.JSON
    ),
    "config check": command(
        "List the problems in config.toml.", lambda args: cli.machine.config_check(args), arguments.JSON
    ),
    "config init": command(
        "Create a documented sample of config.toml.",
        lambda args: cli.machine.config_path(args, create=True),
        arguments.JSON,
    ),
    "config completion": command(
        "Print a script with which bash, zsh or fish complete the command line.",
        lambda args: cli.machine.completion(args, program_parser(COMMON)),
        arg("SHELL", "the shell whose script is printed", choices=arguments.SHELLS),
    ),
    "env list": command(
        "List the virtual environments of backends.", lambda args: cli.machine.env_list(args), arguments.JSON
    ),
    "env create": command(
        "Install a backend's library in an environment of its own, after showing its size.",
        lambda args: cli.machine.env_create(args),
        arguments.ENVIRONMENT,
        arg("--cuda VERSION", "for this major version of CUDA; default: the newest possible"),
        arg("--python PATH", "with this interpreter"),
        arg("--find-links FOLDER", "from the wheels in this folder, without network"),
        arguments.YES,
    ),
    "env check": command(
        "Import the library in an environment.",
        lambda args: cli.machine.env_check(args),
        arguments.ENVIRONMENT,
    ),
    "env remove": command(
        "Delete an environment.", lambda args: cli.machine.env_remove(args), arguments.ENVIRONMENT
    ),
    "doctor": command(
        "Show what this machine can run, and what is missing for the rest.",
        lambda args: cli.machine.doctor(args),
        arguments.ONE_BACKEND,
        arguments.JSON,
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
        known = {it.split(" ")[-1]: it for it in (*COMMANDS, *EXAMPLES) if it}
        engine = "" if name else "".join(args.engines[:1])
        if near := difflib.get_close_matches(engine, known, n=1):
            error.hint = f"Did you mean `paragone {known[near[0]]}`? {error.hint}".rstrip()
        raise


def parse(argv: Sequence[str]) -> tuple[str, Arguments | None]:
    """Return the name of the command, empty for the screen, and its arguments; None for help. Raises InputError."""
    name, rest = _named(argv)
    if arguments.wants_help(rest):
        return name, None
    if name not in COMMANDS:  # a group without a subcommand
        found = next((word for word in rest if not word.startswith("-")), "")
        if re.fullmatch(r"[ce]\d+", found):
            shows = "history show" if found[0] == "c" else "vote cast" if name == "vote" else "suite show"
            message = f"{found} is an id, and no subcommand of paragone {name}."
            raise InputError(message, hint=f"Write: paragone {shows} {found}")
        _parser(name).parse_args(rest)
    return name, arguments.parse_arguments(_prog(name), (*COMMANDS[name].arguments, *COMMON), rest)


_VALUED = [flag for it in (*arguments.REQUEST, *COMMON) if "metavar" in it.settings for flag in it.flags]
"""Options with a value that may precede the command's name."""


def _named(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name of the command or group, and the other arguments; an empty name if no command is named.

    Options may precede the names. After `--`, no argument is taken as a name. A group without a subcommand lists.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    places = [at for at in range(end) if argv[at][:1] != "-" and (not at or argv[at - 1] not in _VALUED)]
    top = argv[places[0]] if places else ""
    if not top or top not in EXAMPLES:
        return "", argv
    named = [at for at in places[1:] if f"{top} {argv[at]}" in COMMANDS][:1]
    rest = [word for at, word in enumerate(argv) if at not in (places[0], *named)]
    if named:
        return f"{top} {argv[named[0]]}", rest
    lists = f"{top} list" in COMMANDS and places[0] + 1 not in places and not arguments.wants_help(argv)
    return f"{top} list" if lists else top, rest


def _prog(name: str) -> str:
    return f"paragone {name}".rstrip()


def help_of(name: str) -> str:
    """Return the help of a command or a group, or, for an empty name, of the screen with the list of commands."""
    top = name.partition(" ")[0]
    lines = [f"examples:{EXAMPLES[top]}", ""]
    if name:
        lines.append("`paragone --help` shows the options of every command: --config, --offline, --trust.")
        lines.append(f"Documentation: docs/command-line.md#paragone-{top}, and `man paragone`.")
        return _parser(name, "\n".join(lines)).format_help()
    for heading, names in HEADINGS.items():
        lines += [f"{heading}:", *(f"  {it:10} {summary_of(it)}" for it in names), ""]
    engine = "To open an engine that has the name of a command: paragone -- ENGINE"
    lines += [
        f"See `paragone COMMAND --help`. {engine}",
        "Documentation: docs/command-line.md, and `man paragone`.",
    ]
    usage = "paragone [ENGINE ...] [options]\n       paragone COMMAND ..."
    parser = _parser(name, "\n".join(lines), usage)
    arguments.add_arguments(parser.add_argument_group("options of every command"), COMMON)
    return parser.format_help()


def summary_of(name: str) -> str:
    """Return the summary of a command, a group or a subcommand."""
    return GROUPS.get(name) or COMMANDS[name].summary


def names_in(top: str) -> list[str]:
    """Return the names of a group's commands, or that of a command that has no subcommands."""
    return [name for name in COMMANDS if name.startswith(f"{top} ")] if top in GROUPS else [top]


def program_parser(common: Sequence[Argument] = ()) -> Parser:
    """Return a parser with a subparser for each command, which also has the arguments in `common`.

    The parser lacks the engines that `paragone ENGINE` opens: argparse would take a command's name for an engine.
    """
    options = [it for it in (*COMMANDS[""].arguments, *COMMON) if it.flags]
    parser = Parser("paragone", options, description=summary_of(""))
    added = parser.add_subparsers(metavar="COMMAND", title="commands")
    for top in filter(None, EXAMPLES):
        _fill(added.add_parser(top, help=summary_of(top), description=summary_of(top)), top, common)
    return parser


def _parser(name: str, epilog: str = "", usage: str | None = None) -> Parser:
    parser = Parser(_prog(name), description=summary_of(name), usage=usage, epilog=epilog)
    _fill(parser, name)
    return parser


def _fill(parser: Parser, name: str, common: Sequence[Argument] = ()) -> None:
    """Add the arguments of a command, or the subcommands of a group."""
    if name in COMMANDS:
        arguments.add_arguments(parser, (*COMMANDS[name].arguments, *common))
        return
    added = parser.add_subparsers(metavar="SUBCOMMAND", title="subcommands", required=True)
    for it in names_in(name):
        summary = summary_of(it)
        _fill(added.add_parser(it.split()[1], help=summary, description=summary), it, common)
