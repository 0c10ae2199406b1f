"""The list of the commands with their arguments. Finds and runs the command that a command line names, and explains
commands."""

from __future__ import annotations

import difflib
import re
import shutil
import textwrap
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
    details: str
    """What the arguments do not show, such as exit codes; below the options in the help text."""


def command(summary: str, run: Callable[[Arguments], int], *own: Argument, details: str = "") -> Command:
    return Command(summary, run, own, details)


COMMANDS: Mapping[str, Command] = {
    "": command(
        "Run inference engines side by side and compare their answers.",
        lambda args: cli.screens.open_lanes(args),
        arg("ENGINE", f"an engine to open in a lane: {arguments.ENGINE}", dest="engines", nargs="*"),
        arg("--version", "show the version and exit"),
        *arguments.REQUEST,
        details="Without ENGINE, the screen opens the lanes of config.toml, else the lanes of the last session with their last "
        "conversation, and at the first start a list of the engines and models that can be used.",
    ),
    "demo": command(
        "Open the screen with two small demo models.",
        lambda args: cli.screens.open_demo(args),
        *arguments.REQUEST,
        details="Both are SmolLM2 (135 million parameters). The first start creates the second one, a smaller quantization. "
        "`paragone engines models` shows their files, for other commands.",
    ),
    "ask": command(
        "Send a prompt to an engine, and print its answer.",
        lambda args: cli.asking.ask(args),
        arguments.ONE_ENGINE,
        arg("PROMPT", "the prompt, instead of --prompt", dest="text", nargs="?"),
        *arguments.PROMPTED,
        details="The answer is printed as it arrives, without the thinking before it, which --json contains. Ctrl+C stops the engine: "
        "the partial answer is printed. If the engine fails, the partial answer is printed and the exit code is 1.",
    ),
    "serve": command(
        "Serve engines to other programs (OpenAI's protocol).",
        lambda args: cli.serve.serve(args),
        arg("ENGINE", f"an engine to serve under its name: {arguments.ENGINE}", dest="engines", nargs="+"),
        arg(
            "--host ADDRESS",
            "the address of this machine to listen at; 0.0.0.0 for all. Default: 127.0.0.1, for this machine only",
            default="127.0.0.1",
        ),
        arg("--port N", "the port; 0 for a free one. Default: 8321", within=(0, 65535), default=8321),
        arg("--no-key", "let every program on this machine use the engines, without a key"),
        arguments.SET,
        details="The address and the key that clients send are printed. Each start makes a new key, unless PARAGONE_SERVE_KEY has one "
        "of 16 characters or more, which is not printed. Ctrl+C, SIGTERM and SIGHUP end the server.",
    ),
    "compare": command(
        "Send one prompt to several engines, and compare the answers.",
        lambda args: cli.asking.compare(args),
        arguments.ENGINES,
        arguments.schedule("`mode` in config.toml"),
        *arguments.PROMPTED,
        details="Prints each answer with its metrics and where it diverges from the first one, then whether the comparison was fair. "
        "An engine that is named twice runs twice. The exit code is 1 if an engine fails; the others are not affected.",
    ),
    "suite run": command(
        "Run a file of prompts, or continue an unfinished run.",
        lambda args: cli.suite.suite_run(args),
        arguments.schedule("swap"),
        arg(
            "--on CLUSTER",
            "run on a Ray cluster: `ray` for the cluster of this machine, or HOST:PORT of its head",
        ),
        arg("--junit FILE", "write the results as JUnit XML"),
        *arguments.SUITE,
        details="The same command continues where an earlier one ended. Ctrl+C keeps and prints the finished runs. The exit code is 1 "
        "if a run failed or was not executed, or if an assertion failed or gave no verdict.",
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
        details="Prints a line of each answer, with the id of its run, such as e3/17, by which `paragone replay` repeats it; on a "
        "terminal for the first 20 prompts. --json has the whole texts.",
    ),
    "suite compare": command(
        "Compare the engines of experiments.",
        lambda args: cli.suite_results.suite_compare(args),
        arg("EXPERIMENT", arguments.EXPERIMENT, dest="experiments", nargs="*"),
        arg("--all-pairs", "compare all pairs of engines, instead of each engine with the reference"),
        arguments.MARGIN,
        arguments.JSON,
        details="The reference is the one of `paragone choose`, else the engine with the largest weights. Of several experiments, the "
        "conditions that differ are printed first.",
    ),
    "suite import": command(
        "Import conversations, server logs, tests or results of other programs.",
        lambda args: cli.suite.suite_import(args),
        arg(
            "FILE",
            "files of another program, its results, or the results of a batch of `suite export`",
            dest="files",
            nargs="+",
        ),
        arg(
            "--template FILE",
            "the prompt for rows of data, in which {{ question }} is the column `question`",
            dest="template_file",
        ),
        arg(
            "--metric NAME",
            "the metric that decides whether a result passes; default: the first one in the file",
            dest="metric",
        ),
        arguments.NEW_SUITE,
        arguments.FORCE,
        arguments.JSON,
        details="Each turn becomes a prompt of a suite, with the recorded messages before it and the recorded answer. Results of "
        "lm-evaluation-harness, Inspect and promptfoo become an experiment, and results of a batch runs of theirs. The exit code is 1 if a line was not imported.",
    ),
    "suite from-history": command(
        "Write a suite of the conversations of the history.",
        lambda args: cli.suite.suite_from_history(args),
        arg(
            "FILTER",
            "ids such as c7, or words and filters of `history search`; default: all",
            dest="words",
            nargs="*",
        ),
        arg("--lane NAME", "the lane whose prompts and answers are taken; default: the first open one"),
        arguments.NEW_SUITE,
        arguments.FORCE,
        arguments.JSON,
        details="Each turn becomes a prompt, with the messages before it and the recorded answer.",
    ),
    "suite export": command(
        "Write unfinished runs into a batch file.",
        lambda args: cli.suite.suite_export(args),
        arg(
            "-o --to FILE",
            "the batch file, in OpenAI's form; of several engines, one file each, with its name",
            dest="batch",
            required=True,
        ),
        arguments.FORCE,
        *arguments.SUITE,
    ),
    "vote cast": command(
        "Vote blind on the answers of an experiment.",
        lambda args: cli.suite_results.vote(args),
        arguments.ONE_EXPERIMENT,
        details="A screen shows two answers at a time, without names and in random order. Failed and identical answers, and "
        "answers that you have voted on, are skipped.",
    ),
    "vote ratings": command(
        "Rate engines by the votes on their answers.",
        lambda args: cli.suite_results.ratings(args),
        arg("EXPERIMENT", "only votes on this experiment, such as e3", nargs="?"),
        arg("--all", "also count votes that were not blind"),
        arg("--without-named", "skip votes in which an answer names its engine or model"),
        arguments.JSON,
        details="The exit code is 1 if there is no vote to use.",
    ),
    "choose": command(
        "Measure engines, and show which one to deploy.",
        lambda args: cli.choose.choose(args),
        arguments.ENGINES,
        arg(
            "--reference ENGINE",
            "the one of these engines whose quality is wanted; default: the one with the largest file",
        ),
        arg("--suite FILE", "your own prompts, with assertions or without; default: 120 built-in ones"),
        arguments.MARGIN,
        arg(
            "--vram SIZE",
            "choose for GPUs with this much free memory each, such as 24G or 24G,24G; default: for this machine",
        ),
        arg("--time DURATION", "end by then, such as 90s, 30m or 2h; default: when all is measured"),
        arg("--fresh", "measure everything again; by default, results in the history are used"),
        arg("-o --to FILE", "also write a report: .html, .md, .csv or .json"),
        arg("--force", "replace any file; by default only an unchanged report of the same choice"),
        arg(
            "--strict",
            "exit with code 3 if nothing is decided, or the choice is only the safe one or preliminary",
        ),
        *arguments.REQUEST,
        arguments.JSON,
        details="After Ctrl+C, the decision follows from what was measured so far, and the same command continues. The exit code is 1 "
        "if nothing is decided, and 2 if nothing can be decided, for example with one engine.",
    ),
    "fidelity": command(
        "Measure how much quality a quantization loses.",
        lambda args: cli.fidelity.fidelity(args),
        arg("REFERENCE", f"the engine to measure against: {arguments.ENGINE}", dest="engine"),
        arg("CANDIDATE", "an engine to measure, named in the same way", dest="engines", nargs="*"),
        arg("--kv TYPES", "also measure REFERENCE with these types of its KV cache, such as q8_0,q4_0"),
        arg(
            "--text FILE", "the text to measure on, in UTF-8; default: a short built-in one", dest="text_file"
        ),
        arg(
            "--window N",
            "size of the windows of the text in tokens, of which the second half is scored; default: 512",
            within=(8, arguments.MOST_TOKENS),
            default=512,
        ),
        arg(
            "--max-kld LIMIT",
            "exit with code 1 if a candidate's mean KLD (in nats) is above LIMIT, or unknown",
            within=(0.0, 1000.0),
        ),
        arg("--suite FILE", "measure on the answers to the prompts of a suite, instead of on a text"),
        arg(
            "--answers KIND",
            "with --suite: `greedy` for the answers that REFERENCE gives, `recorded` for those in the suite; default: greedy",
            choices=("greedy", "recorded"),
            default="greedy",
        ),
        arg("--free-running", "also compare greedy answers to prompts; servers can do this only"),
        arg("--prompts FILE", "the suite for --free-running; default: the built-in one"),
        arguments.SET,
        arguments.JSON,
        details="With --kv, no CANDIDATE is needed. After Ctrl+C, or if an engine fails, what was measured so far is printed and marked as "
        "partial. The figures are saved in the history, for `report` and `fit`.",
    ),
    "bench": command(
        "Measure prefill, decode and latency.",
        lambda args: cli.bench.bench(args),
        arguments.ENGINES,
        arg(
            "--prompt-tokens N,N,…",
            "lengths of the prompt in tokens; default: 512",
            within=(1, arguments.MOST_TOKENS),
            default=[512],
        ),
        arg(
            "--depth N,N,…",
            "numbers of tokens in the KV cache before the prompt; default: 0",
            within=(0, arguments.MOST_TOKENS),
            default=[0],
        ),
        arg("--tokens N", "tokens to generate; default: 128", within=(1, arguments.MOST_TOKENS), default=128),
        arg(
            "--repeat N",
            "runs of each test, or answers for each user; default: 5",
            within=(1, 1000),
            default=5,
        ),
        arg(
            "--users N,N,…",
            "also measure the throughput with these numbers of concurrent users",
            within=(1, 256),
            default=[],
        ),
        arguments.SET,
        arguments.JSON,
        details="There is a test for each length at each depth. Engines run one at a time; each finished test is a row on standard error. "
        "After Ctrl+C, what was measured so far is printed and marked as partial. The exit code is 1 if an engine failed, and 2 if no "
        "test was possible. The figures are saved in the history.",
    ),
    "fit": command(
        "Show how much memory an engine needs, and whether it fits.",
        lambda args: cli.fit.fit(args),
        arguments.ONE_ENGINE,
        arg(
            "--ctx N",
            "the context window in tokens; default: the engine's own, or 4,096 with --vram",
            within=(1, arguments.MOST_TOKENS),
        ),
        arg(
            "--vram SIZE",
            "for GPUs with this much free memory each: 24G (2^30 bytes), 24GB (10^9) or 24G,24G",
        ),
        arguments.SET,
        arguments.JSON,
        details="No model is loaded. The largest context that fits, other quantizations of the model on this machine, and their measured "
        "losses follow. Servers cannot be estimated.",
    ),
    "history list": command(
        "List the conversations, pinned ones first, then the newest.",
        lambda args: cli.history.history_list(args),
        *arguments.FOUND,
        details="Filters: engine:TEXT and model:TEXT in the name, tag:TAG, since:DATE and until:DATE (2026, 2026-10 or 2026-10-31).",
    ),
    "history show": command(
        "Show a conversation.",
        lambda args: cli.history.history_show(args),
        arguments.CONVERSATION,
        arguments.JSON,
        details="Prints the prompts, and for each its runs: id (such as r45), engine, state, first words, figures.",
    ),
    "history search": command(
        "Find prompts, answers and titles that have all words.",
        lambda args: cli.history.history_search(args),
        *arguments.FOUND,
        details="A word also matches inside longer words; case is ignored. Answers of experiments are found too.",
    ),
    "history continue": command(
        "Let the engine of an answer continue it.",
        lambda args: cli.history.history_continue(args),
        arg("RUN", "an answer that was cut, stopped or interrupted, such as r45", dest="answer"),
        arguments.JSON,
        details="The whole answer is printed, and saved as a variant of the earlier one.",
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
        details="Votes on the answers are kept for `paragone vote ratings`.",
    ),
    "history export": command(
        "Write conversations into a file.",
        lambda args: cli.history.history_export(args),
        arg("ID", "the conversations, such as c7", dest="conversations", nargs="*"),
        arg("--all", "all conversations"),
        arg(
            "-o --to FILE",
            "the file: .jsonl or .json (everything; `paragone history import` reads it) or .md (to read)",
            dest="file",
            required=True,
        ),
        arguments.FORCE,
        arguments.JSON,
        details="Other users of this machine cannot read the file.",
    ),
    "history import": command(
        "Import conversations, or the prompt of an experiment's answer.",
        lambda args: cli.history.history_import(args),
        arg(
            "FILE",
            "a file with conversations; or e3/17 for the prompt of that answer",
            dest="source",
            type=None,
        ),
        arguments.JSON,
        details="FILE is an export of paragone, or of ChatGPT, Open WebUI, llama-server's web interface, LM Studio, llm or oterm, or "
        "messages in OpenAI's form. A second import changes nothing. If one conversation cannot be read, none is imported.",
    ),
    "history costs": command(
        "Add up the tokens and the time of all runs.",
        lambda args: cli.history.history_costs(args),
        arg("--since TIME", "only runs since 2026-11-01, or of the last days or hours: 7d, 24h"),
        arg(
            "--price PROVIDER:MODEL",
            "the model of a provider whose prices are shown; may be repeated. Default: a small open model and a large one",
            action="append",
        ),
        arguments.JSON,
        details="Counts the answers in conversations and experiments, variants and judges included. Runs of `ask`, `compare`, `bench` and "
        "`fidelity` are not saved. Prices need the extra `prices`.",
    ),
    "replay": command(
        "Repeat recorded runs, and show which answers differ.",
        lambda args: cli.recorded.replay(args),
        arg(
            "RUN|EXPERIMENT|FILE",
            "a run (r45, or e3/17 of an experiment), a conversation (c7), an experiment (e3), or a document in JSON "
            "that `paragone report` wrote",
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
        details="Also shows what has changed since. The exit code is 1 if an answer differs or a run failed. For a file whose name looks like "
        "an id, write ./e3.",
    ),
    "report": command(
        "Write an experiment or a conversation into a file.",
        lambda args: cli.recorded.report(args),
        arg(
            "ID",
            "an experiment, such as e3, or a conversation, such as c7; without an id, the newest are listed",
            dest="subject",
            nargs="?",
        ),
        arg(
            "-o --to FILE",
            "the file: .html (a page to read), .md (Markdown), .csv (a row for each run) "
            "or .json (everything, for other programs)",
        ),
        arguments.FORCE,
        details="HTML and Markdown need the extra `experiments`. If writing fails, an existing file stays as it was.",
    ),
    "engines list": command(
        "List the defined engines, and whether they can be used.",
        lambda args: cli.catalog.list_engines(args),
        arguments.JSON,
        details="Lists the engines of config.toml and those that were added on the screen. No model is loaded. Each server has 20 seconds to "
        "answer.",
    ),
    "engines models": command(
        "List the models on this machine and at servers.",
        lambda args: cli.catalog.list_models(args),
        arguments.ONE_BACKEND,
        arguments.JSON,
        details="Searches ~/models, the folders under [models] in config.toml, the servers of the defined engines, and the folders of llama.cpp, "
        "LM Studio and Hugging Face's tools. Ollama on this machine is asked with BACKEND ollama, or with `local_servers = true` under "
        "[network]. Each line ends with the engine spec that opens the model. The exit code is 1 if a backend or a server cannot list "
        "its models.",
    ),
    "engines options": command(
        "List the options of a backend's engines.",
        lambda args: cli.catalog.list_options(args),
        arg("BACKEND", "the name of a backend; `paragone doctor` lists the backends"),
        arguments.JSON,
        details="The options are for config.toml and --set.",
    ),
    "engines pull": command(
        "Download the model of an engine to its server.",
        lambda args: cli.catalog.pull(args),
        arguments.ONE_ENGINE,
        details="For Ollama, and for LM Studio from 0.4.0 on. Ctrl+C also stops Ollama's download, which can be resumed later; LM Studio "
        "continues its download.",
    ),
    "config path": command(
        "Print the path of config.toml.", lambda args: cli.machine.config_path(args), arguments.JSON
    ),
    "config check": command(
        "List the problems in config.toml.",
        lambda args: cli.machine.config_check(args),
        arguments.JSON,
        details="The exit code is 2 if there are problems.",
    ),
    "config init": command(
        "Create a documented sample of config.toml.",
        lambda args: cli.machine.config_path(args, create=True),
        arguments.JSON,
        details="An existing file is not replaced.",
    ),
    "config completion": command(
        "Print a script for shell completion.",
        lambda args: cli.machine.completion(args, program_parser(COMMON)),
        arg("SHELL", "bash, zsh or fish", choices=arguments.SHELLS),
    ),
    "env list": command(
        "List the virtual environments of backends.",
        lambda args: cli.machine.env_list(args),
        arguments.JSON,
        details="An outdated environment was created for an earlier version of paragone; create it again.",
    ),
    "env create": command(
        "Install a backend's library in a virtual environment.",
        lambda args: cli.machine.env_create(args),
        arguments.ENVIRONMENT,
        arg("--cuda VERSION", "for this major version of CUDA; default: the newest possible"),
        arg("--python PATH", "with this interpreter"),
        arg("--find-links FOLDER", "from the wheels in this folder, without a network"),
        arguments.YES,
        details="Shows the size of the download, and asks for confirmation. An existing environment is replaced once the new one is installed. "
        "Ctrl+C deletes the incomplete environment.",
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
        "Show what this machine can run, and what is missing.",
        lambda args: cli.machine.doctor(args),
        arguments.ONE_BACKEND,
        arguments.JSON,
        details="Also shows the servers of the defined engines, broken plugins, problems in config.toml, and whether local engines are kept from "
        "the network. The exit code is 0; with BACKEND, it is 1 if the backend cannot be used.",
    ),
}
"""The commands by name; a group's commands by both names. The empty name opens the screen."""

GROUPS: Mapping[str, str] = {
    "suite": "Run a file of prompts on engines, and show the results.",
    "vote": "Vote blind on saved answers, and rate engines by the votes.",
    "history": "List, search, export and import conversations.",
    "engines": "List engines, models and options; download models.",
    "config": "Show, check or create config.toml; complete command lines.",
    "env": "Manage the virtual environments of backends.",
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
  paragone ollama:llama3.2@http://gpu-box:11434 -s temperature=0
  paragone choose small large""",
    "demo": """
  paragone demo
  paragone demo --offline
  paragone demo -s temperature=0""",
    "ask": """
  paragone ask small 'Name three colours.'
  git diff | paragone ask small -p 'Write a commit message for this.'
  paragone ask ollama:llama3.2 'Summarize this.' --attach notes.txt""",
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
  paragone fidelity large small --suite own.jsonl --max-kld 0.1
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
  paragone config completion zsh > ~/.zsh/completions/_paragone""",
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
            error.message = f"There is neither a command nor an engine {engine!r}."
            error.hint = f"Did you mean `paragone {known[near[0]]}`? `paragone --help` lists the commands."
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
            message = f"{found} is an id, not a subcommand of paragone {name}."
            raise InputError(message, hint=f"Write: paragone {shows} {found}")
        _parser(name).parse_args(rest)
    return name, arguments.parse_arguments(
        _prog(name), usage_of(name), (*COMMANDS[name].arguments, *COMMON), rest
    )


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
    if not name:
        return _overview()
    top = name.partition(" ")[0]
    about = f"{summary_of(name)}\n\nExamples:{EXAMPLES[top]}"
    details = [textwrap.fill(COMMANDS[name].details, _width()), ""] if name in COMMANDS else [""]
    details += [
        "`paragone --help` lists the options of every command.",
        f"Documentation: man paragone, docs/commands.md#paragone-{top}",
    ]
    return _parser(name, about, "\n".join(details).lstrip("\n")).format_help()


def _overview() -> str:
    rows = {"Start": [("[ENGINE…]", "Open the screen: chat with one engine, or compare several.")]}
    for heading, names in HEADINGS.items():
        rows.setdefault(heading, []).extend((it, summary_of(it)) for it in names)
    lines = [summary_of(""), ""]
    for heading, listed in rows.items():
        starts = [heading, *[""] * len(listed)]
        lines += [f"{start:9} {it:9} {about}" for start, (it, about) in zip(starts, listed, strict=False)]
    lines += ["", f"Examples, with the engines small and large of config.toml:{EXAMPLES['']}"]
    foot = [
        textwrap.fill(COMMANDS[""].details, _width()),
        "",
        "`paragone COMMAND --help` explains a command, with examples.",
        "Documentation: man paragone, docs/commands.md",
    ]
    options = [it for it in (*COMMANDS[""].arguments, *COMMON) if it.flags]
    usage = f"{usage_of('')}\n       paragone COMMAND …"
    return Parser(
        "paragone", options, description="\n".join(lines), epilog="\n".join(foot), usage=usage
    ).format_help()


def _width() -> int:
    """Return the width of help texts, as argparse computes it."""
    return shutil.get_terminal_size().columns - 2


_OCCURRENCES = {None: "{}", "?": "[{}]", "*": "[{}…]", "+": "{}…"}
"""How often a positional argument may be given, in a usage line."""


def usage_of(name: str) -> str:
    """Return the usage line of a command or a group: its arguments and required options."""
    if name in GROUPS:
        return f"{_prog(name)} SUBCOMMAND …"
    own = COMMANDS[name].arguments
    words = [
        _OCCURRENCES[it.settings.get("nargs")].format(it.settings["metavar"]) for it in own if not it.flags
    ]
    required = [
        f"{it.flags[-1]} {it.settings['metavar']}{'…' if 'nargs' in it.settings else ''}"
        for it in own
        if it.settings.get("required")
    ]
    optional = ["[options]"] if any(it.flags and not it.settings.get("required") for it in own) else []
    return " ".join([_prog(name), *words, *required, *optional])


def summary_of(name: str) -> str:
    """Return the summary of a command, a group or a subcommand."""
    return GROUPS.get(name) or COMMANDS[name].summary


def commands_of_group(top: str) -> list[str]:
    """Return the names of a group's commands, or the name of a command that has no subcommands."""
    return [name for name in COMMANDS if name.startswith(f"{top} ")] if top in GROUPS else [top]


def program_parser(common: Sequence[Argument] = ()) -> Parser:
    """Return a parser with a subparser for each command, which also has the arguments in `common`.

    The parser lacks the engines that `paragone ENGINE` opens: argparse would take a command's name for an engine.
    """
    options = [it for it in (*COMMANDS[""].arguments, *COMMON) if it.flags]
    parser = Parser("paragone", options, description=summary_of(""))
    added = parser.add_subparsers(metavar="COMMAND", title="commands")
    for top in filter(None, EXAMPLES):
        shown = added.add_parser(top, help=summary_of(top), description=summary_of(top), usage=usage_of(top))
        _fill(shown, top, common)
    return parser


def _parser(name: str, about: str = "", epilog: str = "") -> Parser:
    parser = Parser(_prog(name), description=about, usage=usage_of(name), epilog=epilog, add_help=not about)
    _fill(parser, name)
    return parser


def _fill(parser: Parser, name: str, common: Sequence[Argument] = ()) -> None:
    """Add the arguments of a command, or the subcommands of a group."""
    if name in COMMANDS:
        arguments.add_arguments(parser, (*COMMANDS[name].arguments, *common))
        return
    added = parser.add_subparsers(metavar="SUBCOMMAND", title="Subcommands", required=True)
    for it in commands_of_group(name):
        summary = summary_of(it)
        _fill(
            added.add_parser(it.split()[1], help=summary, description=summary, usage=usage_of(it)), it, common
        )
