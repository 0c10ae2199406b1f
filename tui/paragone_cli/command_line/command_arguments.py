"""The arguments of all commands. Parsing a command line and `--help` need only these classes, which import little."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_cli.command_line import arguments

if TYPE_CHECKING:
    from paragone_workbench.config.settings import Mode

ENGINE = "the name of an engine in config.toml, or an engine spec: BACKEND:MODEL or BACKEND:MODEL@URL"
PROMPT = "the prompt; if omitted or `-`, standard input. Piped input is appended to a prompt that is given"
SHELLS = ("bash", "zsh", "fish")
MODES: Sequence[Mode] = ("parallel", "sequential", "swap", "auto")

_MOST_TOKENS = 2**24
"""Largest number of tokens that an option accepts: the largest size of a context window."""

_TOKENS = arguments.whole_number(1, _MOST_TOKENS)

_EXPERIMENT = "the id of an experiment, such as e3; without an id, the newest experiments are listed"
_FORCE = "replace the file if it exists; without it, no file is replaced"
_MARGIN = "the largest loss of the pass rate with which an engine is still not worse; by default 3 points"


def _schedule(default: str) -> Mode | None:
    """Declare the option for the order of runs. `default` describes the default in words."""
    schedule: Mode | None = arguments.arg(
        "--schedule MODE",
        "parallel: all engines at once; sequential: one at a time, for comparable speeds; swap: one engine in "
        f"memory at a time; auto: parallel if all fit in memory, else swap. Default: {default}",
        choices=MODES,
    )
    return schedule


@dataclass(frozen=True, kw_only=True)
class PrintArguments(arguments.Arguments):
    json: bool = arguments.arg("-j --json", "print JSON")


@dataclass(frozen=True, kw_only=True)
class OpenArguments(arguments.Arguments):
    settings: Sequence[str] = arguments.arg(
        "-s --set KEY=VALUE",
        "set an option of each named engine, overriding config.toml; may be repeated",
        action="append",
    )


@dataclass(frozen=True, kw_only=True)
class RunArguments(OpenArguments):
    system: str | None = arguments.arg(
        "--system TEXT", "system prompt instead of config.toml's", type=arguments.utf8_text
    )
    preset: str | None = arguments.arg(
        "--preset NAME",
        "system prompt and sampling options of this preset in config.toml; --system and --set override them",
    )


@dataclass(frozen=True, kw_only=True)
class ScreenArguments(RunArguments):
    engines: Sequence[str] = arguments.arg("ENGINE", f"an engine to open in a lane: {ENGINE}", nargs="*")
    version: bool = arguments.arg("--version", "show the version and exit")


@dataclass(frozen=True, kw_only=True)
class PromptArguments(RunArguments, PrintArguments):
    prompt: str | None = arguments.arg("-p --prompt TEXT", PROMPT)
    logprobs: int | None = arguments.arg(
        "--logprobs N",
        "with --json: each token with its log-probability and those of the N most likely tokens",
        type=arguments.whole_number(0, 1000),
    )
    begin: str = arguments.arg(
        "--begin TEXT", "how the answer begins; the engine continues it", default="", type=arguments.utf8_text
    )
    attached: Sequence[str] = arguments.arg(
        "--attach FILE",
        "send this file with the prompt: a text, a PDF, or an image (PNG, JPEG, WebP or GIF); a pattern in quotes, such "
        "as '*.py', stands for several files; may be repeated",
        action="append",
    )
    template: str | None = arguments.arg(
        "--template NAME", "a template of config.toml, whose `prompt` is the prompt"
    )
    variables: Sequence[str] = arguments.arg(
        "--var NAME=VALUE",
        "with --template: the value of a variable; may be repeated",
        action="append",
        type=arguments.utf8_text,
    )


@dataclass(frozen=True, kw_only=True)
class AskArguments(PromptArguments):
    engine: str = arguments.arg("ENGINE", ENGINE)
    text: str | None = arguments.arg("PROMPT", "the prompt, instead of --prompt", nargs="?")


@dataclass(frozen=True, kw_only=True)
class CompareArguments(PromptArguments):
    engines: Sequence[str] = arguments.arg("ENGINE", ENGINE, nargs="+")
    schedule: Mode | None = _schedule("that of config.toml")


@dataclass(frozen=True, kw_only=True)
class ServeArguments(OpenArguments):
    engines: Sequence[str] = arguments.arg(
        "ENGINE", f"an engine to serve under its name: {ENGINE}", nargs="+"
    )
    host: str = arguments.arg(
        "--host ADDRESS",
        "IP address of this machine to listen at; 0.0.0.0 for all. Default: 127.0.0.1, for this machine alone",
        default="127.0.0.1",
    )
    port: int = arguments.arg(
        "--port N",
        "port; 0 for a free one. Default: 8321",
        type=arguments.whole_number(0, 65535),
        default=8321,
    )


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_LONGEST_S = 30 * 24 * 3600


def parse_duration(text: str) -> int:
    """Return a duration such as `90s`, `30m` or `2h` in seconds. Raises InputError."""
    found = re.fullmatch(r"([0-9]{1,7})\s*([smh]?)", text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= _LONGEST_S:
        raise InputError(f"{text!r} is no duration.", hint="Write for example 90s, 30m or 2h.")
    return seconds


@dataclass(frozen=True, kw_only=True)
class ChooseArguments(RunArguments, PrintArguments):
    engines: Sequence[str] = arguments.arg("ENGINE", ENGINE, nargs="+")
    reference: str | None = arguments.arg(
        "--reference ENGINE",
        "the engine among these with whose quality the others are compared; by default that with the largest file",
    )
    suite: Path | None = arguments.arg(
        "--suite FILE", "prompts with assertions; by default those of paragone"
    )
    margin: float = arguments.arg(
        "--margin POINTS", _MARGIN, type=arguments.number_between(0.1, 99.0), default=3.0
    )
    vram: str | None = arguments.arg(
        "--vram SIZE",
        "choose an engine for GPUs with this much free memory each, such as 24G, 24GB or 24G,24G; by default for this machine",
    )
    time: str | None = arguments.arg(
        "--time DURATION", "end by then, such as 30m; by default when all is measured"
    )
    fresh: bool = arguments.arg("--fresh", "measure everything again")
    to: Path | None = arguments.arg(
        "-o --to FILE", "also write a report; the name ends in .html, .md, .csv or .json"
    )
    force: bool = arguments.arg(
        "--force", "replace any file; by default only an unchanged report of the same choice"
    )


@dataclass(frozen=True, kw_only=True)
class SuiteArguments(RunArguments, PrintArguments):
    file: Path = arguments.arg("FILE", "the file with prompts")
    engines: Sequence[str] = arguments.arg(
        "--engines ENGINE", ENGINE, nargs="+", action="extend", required=True
    )
    repetitions: int = arguments.arg(
        "--repeat N", "runs of each prompt; default: 1", type=arguments.whole_number(1, 1000), default=1
    )
    filter: str | None = arguments.arg(
        "--filter TEXT", "only the prompts that contain this text, or tag:NAME"
    )
    retry_failed: bool = arguments.arg(
        "--retry-failed", "include failed runs; their old results stay until then"
    )
    fresh: bool = arguments.arg(
        "--fresh", "ask all prompts again, even if earlier experiments asked the same"
    )
    skip_invalid: bool = arguments.arg("--skip-invalid", "leave out prompts with mistakes in the file")


@dataclass(frozen=True, kw_only=True)
class SuiteRunArguments(SuiteArguments):
    schedule: Mode | None = _schedule("swap; `sequential` lets their speeds be compared")
    on: str | None = arguments.arg(
        "--on CLUSTER",
        "execute the runs on a Ray cluster: `ray` for the cluster of this machine, or HOST:PORT of its head",
    )
    junit: Path | None = arguments.arg("--junit FILE", "write the results to FILE as JUnit XML")


@dataclass(frozen=True, kw_only=True)
class SuiteExportArguments(SuiteArguments):
    to: Path = arguments.arg(
        "-o --to FILE", "the batch file; of several engines, one each, with its name", required=True
    )
    force: bool = arguments.arg("--force", _FORCE)


@dataclass(frozen=True, kw_only=True)
class SuiteShowArguments(PrintArguments):
    experiment: str | None = arguments.arg("EXPERIMENT", _EXPERIMENT, nargs="?")
    failed: bool = arguments.arg("--failed", "only runs that failed, or that an assertion did not pass")


@dataclass(frozen=True, kw_only=True)
class SuiteCompareArguments(PrintArguments):
    experiments: Sequence[str] = arguments.arg("EXPERIMENT", _EXPERIMENT, nargs="*")
    margin: float = arguments.arg(
        "--margin POINTS", _MARGIN, type=arguments.number_between(0.1, 99.0), default=3.0
    )


@dataclass(frozen=True, kw_only=True)
class SuiteNewArguments(PrintArguments):
    file: Path = arguments.arg("FILE", "the file to write")
    source: str = arguments.arg("--from ID", "the conversation, such as c7", required=True)
    force: bool = arguments.arg("--force", _FORCE)


@dataclass(frozen=True, kw_only=True)
class SuiteImportArguments(PrintArguments):
    experiment: str = arguments.arg("EXPERIMENT", "the id of an experiment, such as e3")
    files: Sequence[Path] = arguments.arg("FILE", "files of results", nargs="+")


@dataclass(frozen=True, kw_only=True)
class VoteArguments(arguments.Arguments):
    experiment: str | None = arguments.arg("EXPERIMENT", _EXPERIMENT, nargs="?")


@dataclass(frozen=True, kw_only=True)
class RatingsArguments(PrintArguments):
    experiment: str | None = arguments.arg(
        "EXPERIMENT", "only votes on this experiment, such as e3", nargs="?"
    )
    all: bool = arguments.arg("--all", "also count votes that were not blind")
    without_named: bool = arguments.arg(
        "--without-named", "without votes in which an answer names its engine or model"
    )


@dataclass(frozen=True, kw_only=True)
class FidelityArguments(OpenArguments, PrintArguments):
    engine: str = arguments.arg("REFERENCE", f"the engine to measure against: {ENGINE}")
    engines: Sequence[str] = arguments.arg(
        "CANDIDATE", "an engine to measure, named in the same way", nargs="*"
    )
    kv: str | None = arguments.arg(
        "--kv TYPES",
        "also measure REFERENCE with these types of its KV cache, separated by commas, such as q8_0,q4_0; REFERENCE itself "
        "then has the default type",
    )
    text: Path | None = arguments.arg(
        "--text FILE", "the text to measure on, in UTF-8; by default a short one of paragone"
    )
    window: int = arguments.arg(
        "--window N",
        "size in tokens of the windows of the text; the second half of each window is scored; by default 512",
        type=arguments.whole_number(8, _MOST_TOKENS),
        default=512,
    )
    max_kld: float | None = arguments.arg(
        "--max-kld LIMIT",
        "exit with code 1 if the mean KLD of a candidate is above LIMIT (in nats), or unknown",
        type=arguments.number_between(0.0, 1000.0),
    )
    free_running: bool = arguments.arg(
        "--free-running", "also compare the engines' greedy answers to prompts"
    )
    prompts: Path | None = arguments.arg(
        "--prompts FILE", "the suite for --free-running; by default that of paragone"
    )


@dataclass(frozen=True, kw_only=True)
class BenchArguments(OpenArguments, PrintArguments):
    engines: Sequence[str] = arguments.arg("ENGINE", ENGINE, nargs="+")
    prompt_tokens: Sequence[int] = arguments.arg(
        "--prompt-tokens N,N,…",
        "lengths of the prompt in tokens; by default 512",
        type=arguments.whole_numbers(1, _MOST_TOKENS),
        default=[512],
    )
    depth: Sequence[int] = arguments.arg(
        "--depth N,N,…",
        "numbers of tokens in the KV cache before the prompt; by default 0",
        type=arguments.whole_numbers(0, _MOST_TOKENS),
        default=[0],
    )
    tokens: int = arguments.arg("--tokens N", "tokens to generate; by default 128", type=_TOKENS, default=128)
    repeat: int = arguments.arg(
        "--repeat N", "runs of each test; by default 5", type=arguments.whole_number(1, 1000), default=5
    )
    users: Sequence[int] = arguments.arg(
        "--users N,N,…",
        "also measure the throughput with these numbers of users at once",
        type=arguments.whole_numbers(1, 256),
        default=[],
    )


@dataclass(frozen=True, kw_only=True)
class FitArguments(OpenArguments, PrintArguments):
    engine: str = arguments.arg("ENGINE", ENGINE)
    ctx: int | None = arguments.arg("--ctx N", "with this context window in tokens", type=_TOKENS)
    vram: str | None = arguments.arg(
        "--vram SIZE", "for GPUs with this much free memory each, such as 24G or 24G,24G"
    )


@dataclass(frozen=True, kw_only=True)
class FindArguments(PrintArguments):
    words: Sequence[str] = arguments.arg(
        "WORD", "filters such as tag:work; `history search` also takes words", nargs="*"
    )
    limit: int = arguments.arg(
        "--limit N", "at most so many; by default 20", type=arguments.whole_number(1, 1_000_000), default=20
    )


@dataclass(frozen=True, kw_only=True)
class ConversationArguments(PrintArguments):
    conversation: str = arguments.arg("ID", "a conversation, such as c7")


@dataclass(frozen=True, kw_only=True)
class ContinueArguments(PrintArguments):
    answer: str = arguments.arg("RUN", "an answer, such as r45")


@dataclass(frozen=True, kw_only=True)
class LabelArguments(PrintArguments):
    conversation: str = arguments.arg("ID", "a conversation, such as c7")
    words: Sequence[str] = arguments.arg("WORD", "the words of the title, or the tags", nargs="*")


@dataclass(frozen=True, kw_only=True)
class DeleteArguments(PrintArguments):
    conversations: Sequence[str] = arguments.arg("ID", "the conversations, such as c7", nargs="+")
    yes: bool = arguments.arg("--yes", "without confirmation")


@dataclass(frozen=True, kw_only=True)
class HistoryExportArguments(PrintArguments):
    conversations: Sequence[str] = arguments.arg("ID", "the conversations, such as c7", nargs="*")
    all: bool = arguments.arg("--all", "all conversations")
    to: Path = arguments.arg(
        "-o --to FILE",
        "the file; its name ends in .json (everything; `paragone history import` reads it) or .md (to read)",
        required=True,
    )
    force: bool = arguments.arg("--force", _FORCE)


@dataclass(frozen=True, kw_only=True)
class HistoryImportArguments(PrintArguments):
    source: str = arguments.arg("FILE", "a file with conversations; or e3/17 for the prompt of that answer")


@dataclass(frozen=True, kw_only=True)
class CostsArguments(PrintArguments):
    since: str | None = arguments.arg(
        "--since TIME", "only runs since 2026-11-01, or of the last days or hours: 7d, 24h"
    )
    price: Sequence[str] = arguments.arg(
        "--price PROVIDER:MODEL",
        "the model of a provider whose prices are shown; may be repeated. By default a small open model and a large one",
        action="append",
    )


@dataclass(frozen=True, kw_only=True)
class ReplayArguments(OpenArguments, PrintArguments):
    target: str = arguments.arg(
        "RUN|EXPERIMENT|FILE",
        "a run (r45, or e3/17 of an experiment), a conversation (c7), an experiment (e3), or a document in JSON "
        "that `paragone report` wrote; `paragone history` lists conversations and their runs, `paragone suite list` "
        "experiments, and `paragone suite show` their runs",
    )
    replacements: Sequence[str] = arguments.arg(
        "--engine NAME=ENGINE",
        "use this engine instead of the recorded one of that name; may be repeated",
        action="append",
    )


@dataclass(frozen=True, kw_only=True)
class ReportArguments(arguments.Arguments):
    subject: str | None = arguments.arg(
        "ID",
        "an experiment, such as e3, or a conversation, such as c7; without an id, the newest are listed",
        nargs="?",
    )
    to: Path | None = arguments.arg(
        "-o --to FILE",
        "the file; its name ends in .html (a page to read), .md (Markdown), .csv (a row for each run) "
        "or .json (everything, for other programs)",
    )
    force: bool = arguments.arg("--force", _FORCE)


@dataclass(frozen=True, kw_only=True)
class BackendArguments(PrintArguments):
    backend: str = arguments.arg("BACKEND", "the name of a backend; `paragone doctor` lists the backends")


@dataclass(frozen=True, kw_only=True)
class OneBackendArguments(PrintArguments):
    backend: str | None = arguments.arg(
        "BACKEND", "only this backend; `paragone doctor` lists all", nargs="?"
    )


@dataclass(frozen=True, kw_only=True)
class PullArguments(arguments.Arguments):
    engine: str = arguments.arg("ENGINE", ENGINE)


@dataclass(frozen=True, kw_only=True)
class CompletionArguments(arguments.Arguments):
    shell: str = arguments.arg("SHELL", "the shell whose script is printed", choices=SHELLS)


@dataclass(frozen=True, kw_only=True)
class EnvironmentArguments(arguments.Arguments):
    backend: str = arguments.arg("BACKEND", "the backend of the environment")


@dataclass(frozen=True, kw_only=True)
class CreateArguments(EnvironmentArguments):
    cuda: str | None = arguments.arg(
        "--cuda VERSION", "for this major version of CUDA; default: the newest possible"
    )
    python: str | None = arguments.arg("--python PATH", "with this interpreter")
    find_links: str | None = arguments.arg(
        "--find-links FOLDER", "from the wheels in this folder, without network"
    )
    yes: bool = arguments.arg("--yes", "without confirmation")
