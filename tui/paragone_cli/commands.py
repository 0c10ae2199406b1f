"""Declares the commands of the command line, and parses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from paragone_cli.arguments import ENGINE, Arguments, Command, common, numbers
from paragone_workbench.config.settings import Mode

__all__ = ["COMMANDS", "help_of", "parse", "screen"]

PROMPT = "the prompt; if omitted or `-`, standard input; if both are given, piped input is appended to it"


def screen() -> Command:
    """Return the command that opens the screen, for a command line without a command's name."""
    command = Command("", "Run inference engines side by side and compare their answers.", epilog=_list())
    command.words.add_argument("engines", metavar="ENGINE", nargs="*", help=f"opened in a lane: {ENGINE}")
    common(command, runs=True)
    command.options.add_argument("--version", action="store_true", help="show the version and exit")
    return command


def _demo() -> Command:
    return common(Command("demo", "Open the screen with two small demo models."), runs=True)


def _ask() -> Command:
    command = Command("ask", "Send a prompt to an engine and print its answer as it arrives.")
    command.words.add_argument("engine", metavar="ENGINE", help=ENGINE)
    command.words.add_argument("prompt", metavar="PROMPT", nargs="?", help=PROMPT)
    return _with_images(_with_logprobs(common(command, runs=True, prints=True)))


def _compare() -> Command:
    command = Command("compare", "Send a prompt to several engines and print their answers and metrics.")
    command.words.add_argument("engines", metavar="ENGINE", nargs="+", help=ENGINE)
    command.options.add_argument("--prompt", metavar="TEXT", help=PROMPT)
    _with_schedule(command)
    return _with_images(_with_logprobs(common(command, runs=True, prints=True)))


def _fidelity() -> Command:
    command = Command("fidelity", "Measure how far engines' distributions are from those of a reference.")
    command.words.add_argument("engine", metavar="REFERENCE", help=f"the engine to measure against: {ENGINE}")
    command.words.add_argument(
        "engines", metavar="CANDIDATE", nargs="+", help="an engine to measure, named in the same way"
    )
    add = command.options.add_argument
    add(
        "--text",
        metavar="FILE",
        type=Path,
        help="the text to measure on, in UTF-8; by default a short one that comes with paragone",
    )
    add(
        "--window",
        metavar="N",
        type=int,
        default=512,
        help="size of the windows of the text in tokens, of which the second half is scored; by default 512",
    )
    return common(command, opens=True, prints=True)


def _fit() -> Command:
    command = Command(
        "fit", "Show what memory an engine would take, whether it fits, and the largest context."
    )
    command.words.add_argument("engine", metavar="ENGINE", help=ENGINE)
    add = command.options.add_argument
    add("--ctx", metavar="N", type=int, help="with this context window in tokens")
    add(
        "--vram",
        metavar="SIZE",
        help="for a hypothetical GPU with this much free memory, such as 24G, 24GB or 512M",
    )
    return common(command, opens=True, prints=True)


def _suite() -> Command:
    command = Command("suite", "Run prompts from a file on several engines, and show what came of it.")
    command.words.add_argument(
        "action",
        metavar="ACTION",
        choices=("run", "list", "show", "compare"),
        help="run: run the prompts in FILE, or go on where an earlier run of the same command ended; list: list "
        "the experiments; show: show the results of one; compare: compare the engines of one or more",
    )
    command.words.add_argument(
        "names", metavar="FILE|EXPERIMENT", nargs="*", help="run: the file; others: experiments such as e3"
    )
    add = command.options.add_argument
    add("--engines", metavar="ENGINE", nargs="+", action="extend", default=[], help=f"run: {ENGINE}")
    add(
        "--repeat",
        dest="repetitions",
        metavar="N",
        type=int,
        help="run: number of runs of each prompt on each engine; default: 1",
    )
    _with_schedule(command, "run: ")
    add("--filter", metavar="TEXT", help="run: only the prompts that contain this text, or tag:NAME")
    add("--retry-failed", action="store_true", help="run: run failed runs again; old results stay until then")
    add("--fresh", action="store_true", help="run: begin anew, even if the same command was run before")
    add("--skip-invalid", action="store_true", help="run: leave out prompts with mistakes in the file")
    add("--junit", metavar="FILE", type=Path, help="run: write the results to FILE as JUnit XML")
    add(
        "--failed", action="store_true", help="show: only runs that failed, or that an assertion did not pass"
    )
    return common(command, runs=True, prints=True)


def _with_schedule(command: Command, prefix: str = "") -> None:
    """Add the option for the order of runs."""
    command.options.add_argument(
        "--schedule",
        metavar="MODE",
        choices=get_args(Mode),
        help=f"{prefix}parallel: all at once; sequential: one at a time, for comparable speeds; swap: one in "
        "memory at a time; auto: parallel if all fit in memory, else swap",
    )


def _vote() -> Command:
    command = Command("vote", "Vote blind on the answers of an experiment.")
    command.words.add_argument(
        "experiment", metavar="EXPERIMENT", help="the id of an experiment, such as e3; `paragone suite list`"
    )
    return common(command)


def _ratings() -> Command:
    command = Command("ratings", "Rate engines by the votes on their answers.")
    add = command.options.add_argument
    add("--experiment", metavar="ID", help="only votes on the answers of this experiment, such as e3")
    add("--all", action="store_true", help="count votes that were not blind too")
    add(
        "--style",
        action="store_true",
        help="control for style: the length of answers, headings, lists and bold",
    )
    return common(command, prints=True)


def _replay() -> Command:
    command = Command("replay", "Repeat recorded runs, and say what came out different and what has changed.")
    command.words.add_argument(
        "target",
        metavar="RUN|EXPERIMENT|FILE",
        help="a run (r45, or e3/17 of an experiment), a conversation (c7), an experiment (e3), or a document in JSON "
        "that `paragone report` wrote; `paragone history` lists conversations and runs",
    )
    add = command.options.add_argument
    add(
        "--engine",
        dest="replacements",
        metavar="NAME=ENGINE",
        action="append",
        default=[],
        help="use this engine instead of the recorded one of that name; may be repeated",
    )
    add(
        "--trust",
        action="store_true",
        help="contact the servers and start the interpreters that a document names",
    )
    return common(command, opens=True, prints=True)


def _history() -> Command:
    command = Command("history", "List the conversations, or the prompts and runs of one.")
    command.words.add_argument(
        "target", metavar="ID", nargs="?", help="a conversation (c7); without it, the newest are listed"
    )
    command.options.add_argument(
        "--limit", metavar="N", type=int, default=20, help="number of conversations; by default 20"
    )
    return common(command, prints=True)


def _report() -> Command:
    command = Command("report", "Write an experiment or a conversation into a file, to read or to share.")
    command.words.add_argument(
        "subject", metavar="ID", help="an experiment, such as e3, or a conversation, such as c7"
    )
    command.options.add_argument(
        "--to",
        metavar="FILE",
        type=Path,
        help="the file; its name ends in .html (a page to read), .md (Markdown), .csv (a row for each run) "
        "or .json (everything, for other programs). An earlier file of this name is replaced",
    )
    return common(command)


def _bench() -> Command:
    command = Command("bench", "Measure the speed of engines: prefill, decode, latency and energy.")
    command.words.add_argument("engines", metavar="ENGINE", nargs="+", help=ENGINE)
    add = command.options.add_argument
    add(
        "--prompt-tokens",
        metavar="N,N,…",
        type=numbers,
        default=[512],
        help="lengths of the prompt in tokens; by default 512",
    )
    add(
        "--depth",
        metavar="N,N,…",
        type=numbers,
        default=[0],
        help="numbers of tokens in the KV cache before the prompt; by default 0",
    )
    add("--tokens", metavar="N", type=int, default=128, help="tokens to generate; by default 128")
    add("--repeat", metavar="N", type=int, default=5, help="measured runs of each test; by default 5")
    return common(command, opens=True, prints=True)


def _with_logprobs(command: Command) -> Command:
    """Add the option for log-probabilities in the JSON output."""
    command.options.add_argument(
        "--logprobs",
        metavar="N",
        type=int,
        help="with --json: each token with its log-probability and those of the N most likely tokens",
    )
    return command


def _with_images(command: Command) -> Command:
    """Add the option for images to send with the prompt."""
    command.options.add_argument(
        "--image",
        dest="images",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="send this image (PNG, JPEG, WebP or GIF) with the prompt; may be repeated",
    )
    return command


def _engines() -> Command:
    return common(Command("engines", "List the defined engines, and whether they can be used."), prints=True)


def _models() -> Command:
    command = Command("models", "List the models in the folders of config.toml and at endpoints.")
    command.words.add_argument(
        "backend", metavar="BACKEND", nargs="?", help="list only models of this backend"
    )
    return common(command, prints=True)


def _pull() -> Command:
    command = Command("pull", "Download the model of an engine to its server.")
    command.words.add_argument("engine", metavar="ENGINE", help=ENGINE)
    return common(command)


def _options() -> Command:
    command = Command("options", "List the options of a backend's engines.")
    command.words.add_argument(
        "backend", metavar="BACKEND", help="the backend's name; `paragone doctor` lists the backends"
    )
    return common(command, prints=True)


def _config() -> Command:
    command = Command("config", "Show the path of config.toml, check it, or create a sample.")
    command.words.add_argument(
        "action",
        metavar="ACTION",
        choices=("path", "check", "init"),
        help="path: print its path; check: list all problems in it; init: create a documented sample",
    )
    return common(command, prints=True)


def _env() -> Command:
    command = Command("env", "Create, list, check or remove virtual environments of backends.")
    command.words.add_argument(
        "action",
        metavar="ACTION",
        choices=("create", "list", "check", "remove"),
        help="create: install a backend's library in an environment of its own, after showing its size; "
        "list: list the environments; check: import the library in an environment; remove: delete one",
    )
    command.words.add_argument("backend", metavar="BACKEND", nargs="?", help="the backend of the environment")
    add = command.options.add_argument
    add(
        "--cuda",
        metavar="VERSION",
        help="create: for this major version of CUDA; default: the newest that the driver supports",
    )
    add("--python", metavar="PATH", help="create: with this interpreter")
    add("--find-links", metavar="FOLDER", help="create: from the wheels in this folder, without a network")
    add("--yes", action="store_true", help="create: without confirmation")
    return common(command, prints=True)


def _doctor() -> Command:
    return common(
        Command("doctor", "Show what this machine can run, and what is missing for the rest."), prints=True
    )


COMMANDS: Mapping[str, Callable[[], Command]] = {
    "demo": _demo,
    "ask": _ask,
    "compare": _compare,
    "fidelity": _fidelity,
    "fit": _fit,
    "suite": _suite,
    "vote": _vote,
    "ratings": _ratings,
    "history": _history,
    "replay": _replay,
    "report": _report,
    "bench": _bench,
    "engines": _engines,
    "models": _models,
    "pull": _pull,
    "options": _options,
    "config": _config,
    "env": _env,
    "doctor": _doctor,
}
"""Factories of the commands, by name. Creating all commands at every start would slow it down."""


def parse(argv: Sequence[str]) -> Arguments:
    """Parse a command line. The first argument is the name of a command, or else an engine for the screen.

    Options may precede the command's name. After `--`, no argument is taken as a command.
    Raises InputError.
    """
    index = _first_argument(argv)
    command = COMMANDS.get(argv[index]) if index is not None else None
    if index is None or command is None:
        return screen().parse(argv)
    return command().parse([*argv[:index], *argv[index + 1 :]])


def _list() -> str:
    """Return the list of commands for the end of the help text."""
    lines = [f"  {name:8} {make().summary}" for name, make in COMMANDS.items()]
    last = (
        "See `paragone COMMAND --help` for each command. "
        "To open an engine that has the name of a command: paragone -- ENGINE"
    )
    return "\n".join(["commands:", *lines, "", last])


def help_of(name: str) -> str:
    """Return the help text of a command, or of the screen for an empty name."""
    return (COMMANDS[name] if name else screen)().help()


_VALUED = ("--config", "--system", "--set")
"""Options with a value that may precede the command's name."""


def _first_argument(argv: Sequence[str]) -> int | None:
    """Return the index of the first argument that is not an option or its value."""
    takes_value = False
    for index, word in enumerate(argv):
        if takes_value:
            takes_value = False
        elif word == "--":
            return None
        elif word in _VALUED:
            takes_value = True
        elif not word.startswith("-"):
            return index
    return None
