"""Declares the commands of experiments: suites, votes, replay, reports, and what is measured of engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from paragone_cli.arguments import ENGINE, Command, common, numbers, with_schedule

__all__ = ["EXPERIMENT_COMMANDS"]


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
        help="for hypothetical GPUs with this much free memory each, such as 24G, 24GB or 24G,24G",
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
    with_schedule(command, "run: ", default="swap; `sequential` lets their speeds be compared")
    add("--filter", metavar="TEXT", help="run: only the prompts that contain this text, or tag:NAME")
    add("--retry-failed", action="store_true", help="run: run failed runs again; old results stay until then")
    add("--fresh", action="store_true", help="run: begin anew, even if the same command was run before")
    add("--skip-invalid", action="store_true", help="run: leave out prompts with mistakes in the file")
    add("--junit", metavar="FILE", type=Path, help="run: write the results to FILE as JUnit XML")
    add(
        "--failed", action="store_true", help="show: only runs that failed, or that an assertion did not pass"
    )
    return common(command, runs=True, prints=True)


def _vote() -> Command:
    command = Command("vote", "Vote blind on the answers of an experiment.")
    command.words.add_argument(
        "experiment",
        metavar="EXPERIMENT",
        nargs="?",
        help="the id of an experiment, such as e3; without one, the newest are named",
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
        "that `paragone report` wrote; `paragone history` lists conversations and their runs, `paragone suite list` "
        "experiments, and `paragone suite show` their runs",
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
        "subject",
        metavar="ID",
        nargs="?",
        help="an experiment, such as e3, or a conversation, such as c7; without one, the newest are named",
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


EXPERIMENT_COMMANDS: Mapping[str, Callable[[], Command]] = {
    "fit": _fit,
    "suite": _suite,
    "vote": _vote,
    "ratings": _ratings,
    "history": _history,
    "replay": _replay,
    "report": _report,
    "bench": _bench,
}
"""Factories of these commands, by name."""
