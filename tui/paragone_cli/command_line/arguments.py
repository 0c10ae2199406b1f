"""The arguments of commands: how they are declared, read and explained by argparse, and which values a command gets."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from paragone import InputError
from paragone.texts import quoted
from paragone_workbench.text import is_utf8, visible

if TYPE_CHECKING:
    from paragone_workbench.config.settings import Mode

N = TypeVar("N", int, float)


class Arguments:
    """The values of a command's arguments. A command has those that it declares, and the three of every command."""

    config: Path | None
    offline: bool
    trust: bool

    all: bool
    answer: str
    answers: str
    attached: Sequence[str]
    backend: str
    batch: Path
    begin: str
    conversation: str
    conversations: Sequence[str]
    ctx: int | None
    all_pairs: bool
    cuda: str | None
    depth: Sequence[int]
    engine: str
    engines: Sequence[str]
    experiment: str | None
    experiments: Sequence[str]
    failed: bool
    file: Path
    files: Sequence[Path]
    filter: str | None
    find_links: str | None
    force: bool
    free_running: bool
    fresh: bool
    strict: bool
    host: str
    json: bool
    junit: Path | None
    kv: str | None
    lane: str | None
    limit: int
    logprobs: int | None
    margin: float
    max_kld: float | None
    metric: str | None
    new_suite: Path
    no_key: bool
    on: str | None
    one_backend: str | None
    port: int
    preset: str | None
    price: Sequence[str]
    prompt: str | None
    prompt_tokens: Sequence[int]
    prompts: Path | None
    python: str | None
    reference: str | None
    repeat: int
    replacements: Sequence[str]
    retry_failed: bool
    schedule: Mode | None
    settings: Sequence[str]
    shell: str
    since: str | None
    skip_invalid: bool
    source: str
    subject: str | None
    suite: Path | None
    system: str | None
    target: str
    template: str | None
    template_file: Path | None
    text: str | None
    text_file: Path | None
    time: str | None
    to: Path | None
    tokens: int
    users: Sequence[int]
    variables: Sequence[str]
    version: bool
    vram: str | None
    window: int
    without_named: bool
    words: Sequence[str]
    yes: bool


def utf8_text(text: str) -> str:
    if is_utf8(text):
        return text
    raise argparse.ArgumentTypeError(f"{quoted(visible(text))} is not UTF-8 text")


def number_within(least: N, most: N) -> Callable[[str], N]:
    """Return the `type` of an option whose value is a number in this range, whole if the bounds are."""
    kind = type(least)
    wanted = (
        f"a whole number from {least:,} to {most:,}"
        if kind is int
        else f"a number from {least:g} to {most:g}"
    )

    def read(text: str) -> N:
        with contextlib.suppress(ValueError):  # the text is not a number, or has thousands of digits
            if least <= (value := kind(text)) <= most:
                return value
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not {wanted}")

    return read


class Argument(NamedTuple):
    name: str
    """The attribute of `Arguments`."""
    flags: Sequence[str]
    """The option's spellings; none for a positional argument."""
    settings: Mapping[str, Any]
    """Keyword arguments of `ArgumentParser.add_argument`."""


def arg(
    spec: str, doc: str, *, dest: str = "", within: tuple[N, N] | None = None, **settings: Any
) -> Argument:
    """Declare an argument: `ENGINE`, an option such as `-o --to FILE`, or a switch such as `--force`.

    `dest` is its attribute of `Arguments`, by default the long option or the value's word. `FILE` is a path. `within` has the
    bounds of a number, or of several numbers with commas between them. `settings` are those of `add_argument`.
    """
    *flags, last = spec.split()
    if last.startswith("-"):
        flags, settings = [*flags, last], {"action": "store_true"}
    else:
        settings = {"metavar": last, **({"type": Path} if last == "FILE" else {}), **settings}
    if within is not None:
        read = number_within(*within)
        settings["type"] = read if "," not in last else lambda text: [read(part) for part in text.split(",")]
    if settings.get("action") in ("append", "extend"):
        settings = {"default": [], **settings}
    name = dest or (flags or [last])[-1].lstrip("-").replace("-", "_").lower()
    return Argument(name, flags, {"help": doc, **settings, **({"dest": name} if flags else {})})


COMMON = (
    arg("--config FILE", "use this config file instead of your config.toml"),
    arg("--offline", "contact no server and no other machine"),
    arg("--trust", "consent to what a third-party file names"),
)
"""The options of every command."""


ENGINE = "the name of an engine in config.toml, or a spec: BACKEND:MODEL or BACKEND:MODEL@URL"
MOST_TOKENS = 2**24
"""Largest number of tokens that an option accepts: the largest size of a context window."""
SHELLS = ("bash", "zsh", "fish")
MODES = ("parallel", "sequential", "swap", "auto")


def schedule(default: str) -> Argument:
    """Return the option for the order of runs. `default` describes the default in words."""
    return arg(
        "--schedule MODE",
        "parallel, sequential (one answers at a time), swap (one in memory at a time), or auto (parallel if all fit in "
        f"memory, else swap); default: {default}",
        choices=MODES,
    )


JSON = arg("-j --json", "print JSON")
SET = arg(
    "-s --set KEY=VALUE",
    "set an engine option; NAME.KEY=VALUE for one engine",
    dest="settings",
    action="append",
)
SYSTEM = arg("--system TEXT", "use another system prompt; '' for none", type=utf8_text)
PRESET = arg(
    "--preset NAME",
    "the system prompt and sampling options of this preset",
)
REQUEST = (PRESET, SYSTEM, SET)
PROMPTED = (
    arg(
        "-p --prompt TEXT",
        "the prompt; if omitted or `-`, standard input. Piped text is appended to the prompt",
    ),
    arg(
        "--attach FILE",
        "send a text, a PDF or an image (PNG, JPEG, WebP, GIF) with the prompt; '*.py' for several; may be repeated",
        dest="attached",
        action="append",
        type=None,
    ),
    arg("--template NAME", "fill in this template of config.toml; its variable `prompt` is the prompt"),
    arg(
        "--var NAME=VALUE",
        "the value of another variable of the template; may be repeated",
        dest="variables",
        action="append",
        type=utf8_text,
    ),
    arg(
        "--begin TEXT", "the beginning of the answer, which the engine continues", default="", type=utf8_text
    ),
    arg(
        "--logprobs N",
        "with --json: log-probabilities of each token and of the N most likely tokens",
        within=(0, 1000),
    ),
    *REQUEST,
    JSON,
)
ONE_ENGINE = arg("ENGINE", ENGINE)
ENGINES = arg("ENGINE", ENGINE, dest="engines", nargs="+")
SUITE = (
    arg("FILE", "the file with prompts: .toml, .jsonl or .csv"),
    arg(
        "--engines ENGINE",
        f"the engines, up to the next option: {ENGINE}",
        nargs="+",
        action="extend",
        required=True,
    ),
    arg("--repeat N", "runs of each prompt; default: 1", within=(1, 1000), default=1),
    arg("--filter TEXT", "only the prompts that contain TEXT, or with tag:NAME those with this tag"),
    arg("--retry-failed", "run failed runs again; the old results stay until then"),
    arg("--fresh", "ask all prompts again, even if earlier experiments asked the same"),
    arg("--skip-invalid", "skip prompts with mistakes in the file; otherwise nothing is run"),
    *REQUEST,
    JSON,
)
EXPERIMENT = "the id of an experiment, such as e3; without an id, the newest experiments are listed"
ONE_EXPERIMENT = arg("EXPERIMENT", EXPERIMENT, nargs="?")
MARGIN = arg(
    "--margin POINTS",
    "the largest loss of the pass rate, in points, that does not count as worse; default: 3",
    within=(0.1, 99.0),
    default=3.0,
)
NEW_SUITE = arg(
    "-o --to FILE",
    "the suite to write, a name in .jsonl; default: suite.jsonl",
    dest="new_suite",
    default=Path("suite.jsonl"),
)
FORCE = arg("--force", "replace the file if it exists")
YES = arg("--yes", "do not ask for confirmation")
CONVERSATION = arg("ID", "a conversation, such as c7", dest="conversation")
FOUND = (
    arg("WORD", "filters such as tag:work; `history search` takes words too", dest="words", nargs="*"),
    arg("--limit N", "the largest number of rows; default: 20", within=(1, 1_000_000), default=20),
    JSON,
)
LABELLED = (
    CONVERSATION,
    arg("WORD", "the words of the title, or the tags", dest="words", nargs="*"),
    JSON,
)
ONE_BACKEND = arg("BACKEND", "only this backend; `paragone doctor` lists all", dest="one_backend", nargs="?")
ENVIRONMENT = arg("BACKEND", "the backend of the environment")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def start_section(self, heading: str | None) -> None:
        """Begin a section, with a capital letter. Without options, all are arguments."""
        names = {"positional arguments": "Arguments", "options": "Options"}
        super().start_section(names.get(heading or "", heading))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return the flags of an option with its value once: `-s, --set KEY=VALUE`."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {action.metavar}{'…' if action.nargs == '+' else ''}"

    def _format_action(self, action: argparse.Action) -> str:
        """Return the lines of an action; of subcommands, those of each, without a name for all."""
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(self._format_action, action._get_subactions()))
        return super()._format_action(action)


class Parser(argparse.ArgumentParser):
    """A parser that raises InputError instead of ending the program."""

    def __init__(self, prog: str, arguments: Iterable[Argument] = (), **settings: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, formatter_class=_Formatter, **settings)
        add_arguments(self, arguments)

    def error(self, message: str) -> NoReturn:
        """Raise the error, with the nearest choice if the value is none of the choices, or with what can be written."""
        see = f"See `{self.prog} --help`."
        if value := re.search(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message):
            choices = value[3].replace("'", "").split(", ")
            near = _nearest(value[2], choices) or f"Choose one of these: {', '.join(choices)}. "
            what = "subcommand" if value[1] == "SUBCOMMAND" else f"value for {value[1]}"
            raise InputError(f"{self.prog} has no {what} {value[2]!r}.", hint=f"{near}{see}")
        if (surplus := message.removeprefix("unrecognized arguments: ")) != message:
            hint = f"Put a text of several words in quotes. {see}"
            raise InputError(f"{self.prog} does not expect {quoted(surplus)} here.", hint=hint)
        write = f"Write: {self.usage}. " if self.usage else ""
        raise InputError(f"{message[:1].upper()}{message[1:]}.", hint=f"{write}{see}")


def add_arguments(parser: argparse._ActionsContainer, arguments: Iterable[Argument]) -> None:
    for name, flags, settings in arguments:
        parser.add_argument(*(flags or [name]), **settings)


def wants_help(argv: Sequence[str]) -> bool:
    return any(word in ("-h", "--help") for word in itertools.takewhile(lambda word: word != "--", argv))


def parse_arguments(prog: str, usage: str, arguments: Sequence[Argument], argv: Sequence[str]) -> Arguments:
    """Parse a command line without the names of the program and of the command. Raises InputError.

    Options stand anywhere. argparse cannot mix them freely with positional arguments, so each kind has a parser of its own.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    options = Parser(prog, (it for it in arguments if it.flags), add_help=False, usage=usage)
    # a prefix that never occurs: the options have been parsed already
    words = Parser(
        prog, (it for it in arguments if not it.flags), add_help=False, usage=usage, prefix_chars="\0"
    )
    found, rest = options.parse_known_args(argv[:end], Arguments())
    for word in rest:
        if word.startswith("-") and word != "-" and " " not in word:
            near = _nearest(word.partition("=")[0], [*options._option_string_actions])
            raise InputError(
                f"{prog} has no option {word}.",
                hint=f"{near}`{prog} --help` lists them. After `--`, arguments may begin with a dash.",
            )
    return words.parse_args([*rest, *argv[end + 1 :]], found)


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]}? " if near else ""
