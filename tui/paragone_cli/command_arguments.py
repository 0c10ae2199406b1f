"""The arguments of commands whose modules import much: parsing a command line and `--help` need only these classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone_cli.command_line.arguments import (
    ENGINE,
    MOST_TOKENS,
    Arguments,
    OpenArguments,
    PrintArguments,
    RunArguments,
    force_switch,
    number_between,
    option,
    repeated,
    schedule_option,
    switch,
    whole_number,
    whole_numbers,
    word,
)
from paragone_workbench.config.settings import Mode

_MOST_USERS = 256


@dataclass(frozen=True, kw_only=True)
class BenchArguments(OpenArguments, PrintArguments):
    """The engines to measure, and the tests."""

    engines: Sequence[str] = word("ENGINE", ENGINE, nargs="+")
    prompt_tokens: Sequence[int] = option(
        "--prompt-tokens N,N,…",
        "lengths of the prompt in tokens; by default 512",
        type=whole_numbers(1, MOST_TOKENS),
        default=[512],
    )
    depth: Sequence[int] = option(
        "--depth N,N,…",
        "numbers of tokens in the KV cache before the prompt; by default 0",
        type=whole_numbers(0, MOST_TOKENS),
        default=[0],
    )
    tokens: int = option(
        "--tokens N", "tokens to generate; by default 128", type=whole_number(1, MOST_TOKENS), default=128
    )
    repeat: int = option(
        "--repeat N", "measured runs of each test; by default 5", type=whole_number(1, 1000), default=5
    )
    users: Sequence[int] = option(
        "--users N,N,…",
        "also measure the throughput with these numbers of users at once",
        type=whole_numbers(1, _MOST_USERS),
        default=[],
    )


@dataclass(frozen=True, kw_only=True)
class ChooseArguments(RunArguments, PrintArguments):
    engines: Sequence[str] = word("ENGINE", ENGINE, nargs="+")
    reference: str | None = option(
        "--reference ENGINE",
        "the engine among these with whose quality the others are compared; by default that with the largest file",
    )
    suite: Path | None = option(
        "--suite FILE",
        "prompts with assertions; by default a small suite that comes with paragone",
        type=Path,
    )
    margin: float = option(
        "--margin POINTS",
        "the largest loss of the pass rate with which an engine is still not worse; by default 3 points",
        type=number_between(0.1, 99.0),
        default=3.0,
    )
    vram: str | None = option(
        "--vram SIZE",
        "choose an engine for GPUs with this much free memory each, such as 24G, 24GB or 24G,24G; by default for this machine",
    )
    time: str | None = option(
        "--time DURATION",
        "the largest time for all measurements, such as 30m; by default as long as they take",
    )
    fresh: bool = switch("--fresh", "measure everything again")
    to: Path | None = option(
        "--to FILE",
        "also write a report; the name of the file ends in .html, .md, .csv or .json",
        type=Path,
    )
    force: bool = switch(
        "--force",
        "replace the file if it exists; without it, only an unchanged report of the same choice is replaced",
    )


@dataclass(frozen=True, kw_only=True)
class FidelityArguments(OpenArguments, PrintArguments):
    """The reference and the candidates, and the text to measure on."""

    engine: str = word("REFERENCE", f"the engine to measure against: {ENGINE}")
    engines: Sequence[str] = word("CANDIDATE", "an engine to measure, named in the same way", nargs="*")
    kv: str | None = option(
        "--kv TYPES",
        "also measure REFERENCE with these types of its KV cache, separated by commas, such as q8_0,q4_0; REFERENCE itself "
        "then has the default type",
    )
    text: Path | None = option(
        "--text FILE",
        "the text to measure on, in UTF-8; by default a short text that comes with paragone",
        type=Path,
    )
    window: int = option(
        "--window N",
        "size in tokens of the windows of the text; the second half of each window is scored; by default 512",
        type=whole_number(8, MOST_TOKENS),
        default=512,
    )
    max_kld: float | None = option(
        "--max-kld LIMIT",
        "exit with code 1 if the mean KLD of a candidate is above LIMIT (in nats), or unknown",
        type=number_between(0.0, 1000.0),
    )
    free_running: bool = switch(
        "--free-running", "have the engines also answer prompts greedily, and compare the answers"
    )
    prompts: Path | None = option(
        "--prompts FILE",
        "the prompts of --free-running, a suite file; by default those that come with paragone",
        type=Path,
    )


@dataclass(frozen=True, kw_only=True)
class FitArguments(OpenArguments, PrintArguments):
    engine: str = word("ENGINE", ENGINE)
    ctx: int | None = option(
        "--ctx N", "with this context window in tokens", type=whole_number(1, MOST_TOKENS)
    )
    vram: str | None = option(
        "--vram SIZE",
        "for hypothetical GPUs with this much free memory each, such as 24G, 24GB or 24G,24G",
    )


RUNNING = ("run", "export")
"""The actions that take the options of runs."""


@dataclass(frozen=True, kw_only=True)
class SuiteArguments(RunArguments, PrintArguments):
    action: str = word(
        "ACTION",
        "run: run the prompts in FILE, or go on where an earlier run of the same command ended; list: list "
        "the experiments; show: show the results of an experiment; compare: compare the engines of experiments; new: "
        "write a file with the prompts of a conversation; export: write unfinished runs into a batch file for another "
        "machine; import: import the results of a batch file",
        choices=("run", "list", "show", "compare", "new", "export", "import"),
    )
    names: Sequence[str] = word(
        "FILE|EXPERIMENT",
        "run, new, export: the file; import: an experiment, then files of results; others: experiments such as e3",
        nargs="*",
    )
    source: str | None = option("--from ID", "the conversation, such as c7", actions=("new",))
    engines: Sequence[str] = repeated("--engines ENGINE", ENGINE, actions=RUNNING, nargs="+", action="extend")
    repetitions: int | None = option(
        "--repeat N",
        "number of runs of each prompt on each engine; default: 1",
        actions=RUNNING,
        type=whole_number(1, 1000),
    )
    schedule: Mode | None = schedule_option("run", default="swap; `sequential` lets their speeds be compared")
    filter: str | None = option(
        "--filter TEXT", "only the prompts that contain this text, or tag:NAME", actions=RUNNING
    )
    retry_failed: bool = switch(
        "--retry-failed", "include failed runs; their old results stay until then", actions=RUNNING
    )
    fresh: bool = switch(
        "--fresh", "ask all prompts again, even if earlier experiments asked the same", actions=RUNNING
    )
    skip_invalid: bool = switch(
        "--skip-invalid", "leave out prompts with mistakes in the file", actions=RUNNING
    )
    on: str | None = option(
        "--on CLUSTER",
        "execute the runs on a Ray cluster: `ray` for the cluster of this machine, or HOST:PORT of its head",
        actions=("run",),
    )
    junit: Path | None = option(
        "--junit FILE", "write the results to FILE as JUnit XML", actions=("run",), type=Path
    )
    margin: float | None = option(
        "--margin POINTS",
        "the largest loss of the pass rate with which an engine is still not worse than another; default: 3 points",
        actions=("compare",),
        type=number_between(0.1, 99.0),
    )
    to: Path | None = option(
        "--to FILE",
        "the batch file, such as batch.jsonl; of several engines, each gets a file with its name",
        actions=("export",),
        type=Path,
    )
    force: bool = force_switch("export", "new")
    failed: bool = switch(
        "--failed", "only runs that failed, or that an assertion did not pass", actions=("show",)
    )


HISTORY_ACTIONS = (
    "list", "show", "search", "rename", "continue", "tag", "pin", "unpin", "delete", "export", "import", "costs",
)  # fmt: skip
"""The actions of `paragone history`."""

_LIMIT = 20


@dataclass(frozen=True, kw_only=True)
class HistoryArguments(PrintArguments):
    words: Sequence[str] = word(
        "ACTION|ID",
        "a conversation (c7), which is shown, or an action and its arguments: list [FILTER…]; show ID; search TEXT; "
        "rename ID TITLE; continue RUN; tag ID [TAG…], which replaces its tags; pin ID; unpin ID; delete ID…; export ID… --to FILE; import FILE, or e3/17 for "
        "the prompt of that answer; costs, which adds up tokens and time. Without arguments, the newest conversations are listed",
        nargs="*",
    )
    limit: int | None = option(
        "--limit N",
        f"number of conversations or matches; by default {_LIMIT}",
        actions=("list", "search"),
        type=whole_number(1, 1_000_000),
    )
    all: bool = switch("--all", "all conversations", actions=("export",))
    yes: bool = switch("--yes", "without confirmation", actions=("delete",))
    to: Path | None = option(
        "--to FILE",
        "the file; its name ends in .json (everything; `paragone history import` reads it) or .md (to read)",
        actions=("export",),
        type=Path,
    )
    force: bool = force_switch("export")
    since: str | None = option(
        "--since TIME",
        "only runs since a date (2026-11-01), or of the last days or hours (7d, 24h)",
        actions=("costs",),
    )
    price: Sequence[str] = repeated(
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
        """The action: the first word, or by default `list` or `show`."""
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
class RatingsArguments(PrintArguments):
    experiment: str | None = option(
        "--experiment ID", "only votes on the answers of this experiment, such as e3"
    )
    all: bool = switch("--all", "also count votes that were not blind")
    without_named: bool = switch(
        "--without-named", "leave out votes in which an answer names its engine or model"
    )


LARGE: Mapping[str, type[Arguments]] = {
    "bench": BenchArguments,
    "choose": ChooseArguments,
    "fidelity": FidelityArguments,
    "fit": FitArguments,
    "history": HistoryArguments,
    "ratings": RatingsArguments,
    "suite": SuiteArguments,
}
"""The arguments, by the name of the command."""
