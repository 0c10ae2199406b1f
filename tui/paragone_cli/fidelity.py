"""`paragone fidelity`: measures how far engines' distributions are from a reference's."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from paragone import InputError, Json, Message
from paragone.files import read_regular_file
from paragone.json_values import objects_at, text_at
from paragone_cli.command_line import event_loop, output, saved
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import show_next
from paragone_cli.measurement_progress import FidelityProgress
from paragone_workbench.blocks import brief_names
from paragone_workbench.choosing.choice import questions
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.measure import fidelity_verdict, free_running, sections
from paragone_workbench.measure.conversations import ConversationComparison
from paragone_workbench.measure.fidelity import sample_text


async def _measure(args: Arguments, comparison: free_running.Comparison) -> int:
    fidelity = comparison.fidelity
    async with event_loop.interruptible(comparison) as interrupts:
        with FidelityProgress() as progress:
            await comparison.measure(progress.begin)
        # an engine without distributions is compared by its answers: nothing failed
        has_failed = comparison.refused is not None and fidelity.reference.engine.capabilities.distributions
    if comparison.refused is not None:
        if not comparison.is_measured:
            raise comparison.refused
        output.note(f"There is no comparison of distributions. {comparison.refused}")
    data = _json(args, comparison)
    if args.json:
        output.put_json(data)
        for candidate in objects_at(data, "candidates"):
            if message := text_at(candidate, "warning"):
                output.warn(message)
    else:
        brief = brief_names(engine.definition.name for engine in comparison.engines)
        output.put_sections(sections.fidelity_sections(data, brief))
        output.put_whole_names(brief)
    found = [*(one.error for one in fidelity.measured), *comparison.answer_errors.values()]
    errors = list({id(error): error for error in found if error is not None}.values())
    for error in errors:
        output.print_error(error)
    status = interrupts.exit_code(errors, nothing_done=bool(errors) and not comparison.is_measured)
    return status or int(has_failed)


def _json(args: Arguments, comparison: free_running.Comparison) -> dict[str, Json]:
    return comparison.to_json(
        text=None if args.text_file is None else args.text_file.name,
        prompts=None if (prompts := args.suite or args.prompts) is None else prompts.name,
    )


LARGEST_TEXT = 2**26
"""Largest size in bytes of a text. An engine computes for hours on a text of a hundredth of this size."""


def fidelity(args: Arguments) -> int:
    if args.prompts is not None and not args.free_running:
        raise InputError("--prompts needs --free-running.", hint="Only free-running engines answer prompts.")
    if args.suite is not None and (args.free_running or args.text_file is not None):
        raise InputError(
            "--suite excludes --text and --free-running.", hint="Measure them one after the other."
        )
    if args.suite is None and args.answers == "recorded":
        raise InputError("--answers needs --suite.", hint="Only a suite has recorded answers.")
    context = CommandContext(args)
    engines = context.engines([args.engine, *args.engines], args.settings)
    if args.kv is not None:
        backend = context.registry.get(engines[0].backend)
        reference, candidates = free_running.kv_candidates(
            engines[0], backend, list(filter(None, map(str.strip, args.kv.split(","))))
        )
        engines = (reference, *engines[1:], *candidates)
    if len(engines) == 1:
        raise InputError(
            "There is nothing to compare the reference with.",
            hint="Name a candidate as well, or types of the KV cache with --kv.",
        )
    if args.suite is None:
        comparison = _over_text(args, context, engines)
    else:
        comparison = _over_suite(args.suite, args.answers == "recorded", context, engines)
    status = event_loop.run(_measure(args, comparison))
    if comparison.is_measured:
        saved.save_measurement("fidelity", engines, _json(args, comparison), context.registry)
    exceeded = () if args.max_kld is None else fidelity_verdict.above_limit(comparison.fidelity, args.max_kld)
    for message in exceeded:
        output.note(message)
    texts = (args.engine, *args.engines)
    if status == 0 and len(set(texts)) > 1:
        show_next(args, "fidelity", engines=tuple(dict.fromkeys(texts)))
    return status or int(bool(exceeded))


def _over_suite(
    path: Path, recorded: bool, context: CommandContext, engines: Sequence[EngineDefinition]
) -> free_running.Comparison:
    with closing(load_assertions()) as catalog:
        turns = [turn for turn in questions(path, catalog).prompts if turn.answer or not recorded]
    if not turns:
        raise InputError(
            f"No prompt of {path.name} has a recorded answer.",
            hint="Omit --answers recorded: then the reference answers the prompts.",
        )
    return ConversationComparison(context.registry, engines, turns, recorded=recorded)


def _over_text(
    args: Arguments, context: CommandContext, engines: Sequence[EngineDefinition]
) -> free_running.Comparison:
    if args.text_file is None:
        text = sample_text()
        output.note("The built-in text is short, so the uncertainties are wide. --text names another.")
    else:
        text = _read(args.text_file)
    prompts: Sequence[Sequence[Message]] = ()
    if args.free_running:
        with closing(load_assertions()) as catalog:
            prompts = [prompt.messages for prompt in questions(args.prompts, catalog).prompts]
    return free_running.Comparison(context.registry, engines, text, prompts, window=args.window)


def _read(path: Path) -> str:
    """Return the text in a file. Raises InputError."""
    content = read_regular_file(path, hint="Name a text file.", largest=LARGEST_TEXT)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "LATIN1"  # a guess
        raise InputError(
            f"{path} is not text in UTF-8: byte {error.start + 1:,} does not belong there.",
            hint=f"Convert it: iconv -f {encoding} -t UTF-8 {path}",
        ) from error
