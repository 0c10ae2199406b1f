"""The arguments of commands whose modules import much: parsing a command line and `--help` need only these classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone_cli.command_line import arguments
from paragone_workbench.config.settings import Mode

_MOST_USERS = 256


@dataclass(frozen=True, kw_only=True)
class BenchArguments(arguments.OpenArguments, arguments.PrintArguments):
    engines: Sequence[str] = arguments.word("ENGINE", arguments.ENGINE, nargs="+")
    prompt_tokens: Sequence[int] = arguments.option(
        "--prompt-tokens N,N,…",
        "lengths of the prompt in tokens; by default 512",
        type=arguments.whole_numbers(1, arguments.MOST_TOKENS),
        default=[512],
    )
    depth: Sequence[int] = arguments.option(
        "--depth N,N,…",
        "numbers of tokens in the KV cache before the prompt; by default 0",
        type=arguments.whole_numbers(0, arguments.MOST_TOKENS),
        default=[0],
    )
    tokens: int = arguments.option(
        "--tokens N",
        "tokens to generate; by default 128",
        type=arguments.whole_number(1, arguments.MOST_TOKENS),
        default=128,
    )
    repeat: int = arguments.option(
        "--repeat N",
        "measured runs of each test; by default 5",
        type=arguments.whole_number(1, 1000),
        default=5,
    )
    users: Sequence[int] = arguments.option(
        "--users N,N,…",
        "also measure the throughput with these numbers of users at once",
        type=arguments.whole_numbers(1, _MOST_USERS),
        default=[],
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
class ChooseArguments(arguments.RunArguments, arguments.PrintArguments):
    engines: Sequence[str] = arguments.word("ENGINE", arguments.ENGINE, nargs="+")
    reference: str | None = arguments.option(
        "--reference ENGINE",
        "the engine among these with whose quality the others are compared; by default that with the largest file",
    )
    suite: Path | None = arguments.option(
        "--suite FILE",
        "prompts with assertions; by default a small suite that comes with paragone",
        type=Path,
    )
    margin: float = arguments.option(
        "--margin POINTS",
        "the largest loss of the pass rate with which an engine is still not worse; by default 3 points",
        type=arguments.number_between(0.1, 99.0),
        default=3.0,
    )
    vram: str | None = arguments.option(
        "--vram SIZE",
        "choose an engine for GPUs with this much free memory each, such as 24G, 24GB or 24G,24G; by default for this machine",
    )
    time: str | None = arguments.option(
        "--time DURATION",
        "the largest time for all measurements, such as 30m; by default as long as they take",
    )
    fresh: bool = arguments.switch("--fresh", "measure everything again")
    to: Path | None = arguments.option(
        "--to FILE",
        "also write a report; the name of the file ends in .html, .md, .csv or .json",
        type=Path,
    )
    force: bool = arguments.switch(
        "--force",
        "replace the file if it exists; without it, only an unchanged report of the same choice is replaced",
    )


@dataclass(frozen=True, kw_only=True)
class FidelityArguments(arguments.OpenArguments, arguments.PrintArguments):
    engine: str = arguments.word("REFERENCE", f"the engine to measure against: {arguments.ENGINE}")
    engines: Sequence[str] = arguments.word(
        "CANDIDATE", "an engine to measure, named in the same way", nargs="*"
    )
    kv: str | None = arguments.option(
        "--kv TYPES",
        "also measure REFERENCE with these types of its KV cache, separated by commas, such as q8_0,q4_0; REFERENCE itself "
        "then has the default type",
    )
    text: Path | None = arguments.option(
        "--text FILE",
        "the text to measure on, in UTF-8; by default a short text that comes with paragone",
        type=Path,
    )
    window: int = arguments.option(
        "--window N",
        "size in tokens of the windows of the text; the second half of each window is scored; by default 512",
        type=arguments.whole_number(8, arguments.MOST_TOKENS),
        default=512,
    )
    max_kld: float | None = arguments.option(
        "--max-kld LIMIT",
        "exit with code 1 if the mean KLD of a candidate is above LIMIT (in nats), or unknown",
        type=arguments.number_between(0.0, 1000.0),
    )
    free_running: bool = arguments.switch(
        "--free-running", "have the engines also answer prompts greedily, and compare the answers"
    )
    prompts: Path | None = arguments.option(
        "--prompts FILE",
        "the prompts of --free-running, a suite file; by default those that come with paragone",
        type=Path,
    )


@dataclass(frozen=True, kw_only=True)
class FitArguments(arguments.OpenArguments, arguments.PrintArguments):
    engine: str = arguments.word("ENGINE", arguments.ENGINE)
    ctx: int | None = arguments.option(
        "--ctx N", "with this context window in tokens", type=arguments.whole_number(1, arguments.MOST_TOKENS)
    )
    vram: str | None = arguments.option(
        "--vram SIZE",
        "for hypothetical GPUs with this much free memory each, such as 24G, 24GB or 24G,24G",
    )


RUNNING = ("run", "export")


@dataclass(frozen=True, kw_only=True)
class SuiteArguments(arguments.RunArguments, arguments.PrintArguments):
    action: str = arguments.word(
        "ACTION",
        "run: run the prompts in FILE, or go on where an earlier run of the same command ended; list: list "
        "the experiments; show: show the results of an experiment; compare: compare the engines of experiments; new: "
        "write a file with the prompts of a conversation; export: write unfinished runs into a batch file for another "
        "machine; import: import the results of a batch file",
        choices=("run", "list", "show", "compare", "new", "export", "import"),
    )
    names: Sequence[str] = arguments.word(
        "FILE|EXPERIMENT",
        "run, new, export: the file; import: an experiment, then files of results; others: experiments such as e3",
        nargs="*",
    )
    source: str | None = arguments.option("--from ID", "the conversation, such as c7", actions=("new",))
    engines: Sequence[str] = arguments.repeated(
        "--engines ENGINE", arguments.ENGINE, actions=RUNNING, nargs="+", action="extend"
    )
    repetitions: int | None = arguments.option(
        "--repeat N",
        "number of runs of each prompt on each engine; default: 1",
        actions=RUNNING,
        type=arguments.whole_number(1, 1000),
    )
    schedule: Mode | None = arguments.schedule_option(
        "run", default="swap; `sequential` lets their speeds be compared"
    )
    filter: str | None = arguments.option(
        "--filter TEXT", "only the prompts that contain this text, or tag:NAME", actions=RUNNING
    )
    retry_failed: bool = arguments.switch(
        "--retry-failed", "include failed runs; their old results stay until then", actions=RUNNING
    )
    fresh: bool = arguments.switch(
        "--fresh", "ask all prompts again, even if earlier experiments asked the same", actions=RUNNING
    )
    skip_invalid: bool = arguments.switch(
        "--skip-invalid", "leave out prompts with mistakes in the file", actions=RUNNING
    )
    on: str | None = arguments.option(
        "--on CLUSTER",
        "execute the runs on a Ray cluster: `ray` for the cluster of this machine, or HOST:PORT of its head",
        actions=("run",),
    )
    junit: Path | None = arguments.option(
        "--junit FILE", "write the results to FILE as JUnit XML", actions=("run",), type=Path
    )
    margin: float | None = arguments.option(
        "--margin POINTS",
        "the largest loss of the pass rate with which an engine is still not worse than another; default: 3 points",
        actions=("compare",),
        type=arguments.number_between(0.1, 99.0),
    )
    to: Path | None = arguments.option(
        "--to FILE",
        "the batch file, such as batch.jsonl; of several engines, each gets a file with its name",
        actions=("export",),
        type=Path,
    )
    force: bool = arguments.force_switch("export", "new")
    failed: bool = arguments.switch(
        "--failed", "only runs that failed, or that an assertion did not pass", actions=("show",)
    )


HISTORY_ACTIONS = (
    "list", "show", "search", "rename", "continue", "tag", "pin", "unpin", "delete", "export", "import", "costs",
)  # fmt: skip
"""The actions of `paragone history`."""

_LIMIT = 20


@dataclass(frozen=True, kw_only=True)
class HistoryArguments(arguments.PrintArguments):
    words: Sequence[str] = arguments.word(
        "ACTION|ID",
        "a conversation (c7), which is shown, or an action and its arguments: list [FILTER…]; show ID; search TEXT; "
        "rename ID TITLE; continue RUN; tag ID [TAG…], which replaces its tags; pin ID; unpin ID; delete ID…; export ID… --to FILE; import FILE, or e3/17 for "
        "the prompt of that answer; costs, which adds up tokens and time. Without arguments, the newest conversations are listed",
        nargs="*",
    )
    limit: int | None = arguments.option(
        "--limit N",
        f"number of conversations or matches; by default {_LIMIT}",
        actions=("list", "search"),
        type=arguments.whole_number(1, 1_000_000),
    )
    all: bool = arguments.switch("--all", "all conversations", actions=("export",))
    yes: bool = arguments.switch("--yes", "without confirmation", actions=("delete",))
    to: Path | None = arguments.option(
        "--to FILE",
        "the file; its name ends in .json (everything; `paragone history import` reads it) or .md (to read)",
        actions=("export",),
        type=Path,
    )
    force: bool = arguments.force_switch("export")
    since: str | None = arguments.option(
        "--since TIME",
        "only runs since a date (2026-11-01), or of the last days or hours (7d, 24h)",
        actions=("costs",),
    )
    price: Sequence[str] = arguments.repeated(
        "--price PROVIDER:MODEL",
        "the model of a provider whose prices are shown; may be repeated. By default a small open model and a large one",
        actions=("costs",),
    )

    @property
    def most(self) -> int:
        """Largest number of conversations or matches that are printed."""
        return self.limit or _LIMIT

    @property
    def action(self) -> str:
        if not self.words:
            return "list"
        return self.words[0] if self.words[0] in HISTORY_ACTIONS else "show"

    @property
    def operands(self) -> Sequence[str]:
        return self.words[1:] if self.words and self.words[0] in HISTORY_ACTIONS else self.words

    def only_word(self, wanted: str) -> str:
        """Return the only word after the action. Raises InputError with `wanted` if there is no word or more than one."""
        if len(self.operands) != 1:
            raise InputError(f"`paragone history {self.action}` takes one thing: {wanted}.")
        return self.operands[0]


@dataclass(frozen=True, kw_only=True)
class RatingsArguments(arguments.PrintArguments):
    experiment: str | None = arguments.option(
        "--experiment ID", "only votes on the answers of this experiment, such as e3"
    )
    all: bool = arguments.switch("--all", "also count votes that were not blind")
    without_named: bool = arguments.switch(
        "--without-named", "leave out votes in which an answer names its engine or model"
    )


LARGE: Mapping[str, type[arguments.Arguments]] = {
    "bench": BenchArguments,
    "choose": ChooseArguments,
    "fidelity": FidelityArguments,
    "fit": FitArguments,
    "history": HistoryArguments,
    "ratings": RatingsArguments,
    "suite": SuiteArguments,
}
