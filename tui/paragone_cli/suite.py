"""`paragone suite`: runs prompts from a file on several engines. Its actions run, import, from-history and export."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from paragone import InputError, Json, ParagoneError, files
from paragone.texts import counted
from paragone_cli import command_line, measurement_progress, suite_results
from paragone_cli.command_line import event_loop, formats, output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import show_next
from paragone_cli.command_line.progress import StatusLine
from paragone_workbench.config.settings import Mode
from paragone_workbench.config.toml_file import text_of
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import assertions, batches, results, suite_file
from paragone_workbench.experiments import suite as suites
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite_file import SuiteEntry
from paragone_workbench.files import result_import
from paragone_workbench.files.result_import import ResultImport
from paragone_workbench.files.suite_import import SuiteImport, entries_in, history_entries, write_suite
from paragone_workbench.ids import parse_id
from paragone_workbench.paths import check_target
from paragone_workbench.store import Experiment, Store

_MOST = 1_000_000
"""Largest number of conversations of the history in a suite."""


def suite_request(
    args: Arguments,
    context: CommandContext,
    catalog: assertions.AssertionCatalog,
    schedule: Mode = suites.SCHEDULE,
) -> suites.SuiteRequest:
    """Read the file of prompts, and return the request. Raises InputError, for example without consent to the judges."""
    path = args.file
    engines = context.engines(args.engines, args.settings, args.preset)
    suite = suite_file.read_suite(path, catalog, system=context.system_prompt(args))
    _refuse_problems(path, suite, skip=args.skip_invalid)
    chosen = None
    if args.filter is not None:
        chosen = frozenset(prompt.index for prompt in suites.filter_prompts(suite, args.filter).prompts)
        if not chosen:
            raise InputError(f"No prompt of {path.name} matches the filter {args.filter!r}.")
    judges, foreign = command_line.saved.consented_judges(context, path, suite, engines, catalog)
    return suites.SuiteRequest(
        suite=suite,
        engines=engines,
        judges=judges,
        foreign_judges=foreign,
        repetitions=args.repeat,
        schedule=schedule,
        chosen=chosen,
        retry_failed=args.retry_failed,
        fresh=args.fresh,
    )


def _refuse_problems(path: Path, suite: suites.Suite, *, skip: bool) -> None:
    """Report the problems of a suite. Raises InputError, unless prompts with problems are to be skipped."""
    if not suite.problems:
        return
    count = len({line for line, _ in suite.problems})
    for line in suites.problem_text(path.name, suite.problems).splitlines():
        output.warn(line) if skip else output.note(line)
    if not skip:
        raise InputError(
            f"{path.name} has mistakes in {counted(count, 'line')}; nothing was run.",
            hint="Correct them, or skip these prompts with --skip-invalid.",
        )
    output.note(f"Skipped because of mistakes: {count:,}. Prompts that are run: {len(suite.prompts):,}.")


def suite_export(args: Arguments) -> int:
    context = CommandContext(args)
    with closing(assertions.load_assertions()) as catalog:
        return event_loop.run(_export(args, context.registry, suite_request(args, context, catalog), catalog))


async def _export(
    args: Arguments, registry: Registry, request: suites.SuiteRequest, catalog: assertions.AssertionCatalog
) -> int:
    engines = []
    for definition in request.engines:
        if registry.get(definition.backend).capabilities.local:
            output.note(
                f"{definition.name} loads its model on this machine, so `paragone suite run` runs it."
            )
        else:
            engines.append(batches.batch_engine(definition, registry))
    if not engines:
        raise InputError(
            "All these engines load their models on this machine; a batch names a model of a server.",
            hint="Name an engine such as openai:MODEL@URL.",
        )
    names = [engine.definition.name for engine in engines]
    paths = [args.batch]
    if len(names) > 1:
        words = ["".join(it if it.isalnum() or it in "+-._" else "-" for it in name) for name in names]
        paths = [args.batch.with_name(f"{args.batch.stem}.{word}{args.batch.suffix}") for word in words]
    if len(set(paths)) < len(paths):
        raise InputError("Two engines would have the same file.", hint="Give them other names.")
    for path in paths:
        check_target(path, args.file, *([] if args.config is None else [args.config]), replaces=args.force)
    written: list[Json] = []
    async with command_line.saved.opened_history() as history:
        experiment, _ = await suites.find_or_create(history, request, registry)
        taken = await results.take_known_runs(history, experiment, request, registry, catalog)
        if taken:
            output.note(results.known_text(taken, experiment.runs))
        by_name = {definition.name: definition for definition in experiment.engines}
        for name, path in zip(names, paths, strict=True):
            engine = batches.batch_engine(by_name[name], registry)
            requests = await batches.write_batch(history, experiment, request, engine, path)
            if not requests:
                output.note(f"{name} has no unfinished runs; no file is written.")
                continue
            output.note(f"{path} is written: {counted(requests, 'request')} to {engine.definition.model}.")
            left_out = engine.left_out
            if left_out:
                output.warn(
                    f"A batch has no field for these options of {name}: {', '.join(left_out)}. These options do not apply."
                )
            written.append(
                {"file": str(path), "engine": name, "requests": requests, "left_out": list(left_out)}
            )
    if args.json:
        output.put_json({"id": f"e{experiment.number}", "files": written})
    if written:
        output.note("Have the requests answered, then import the results.")
        show_next(args, "suite export", id=f"e{experiment.number}")
    return 0


def suite_import(args: Arguments) -> int:
    """Import results of a batch into their experiment, save results of other programs as an experiment, or write a suite of
    what other programs have written."""
    context = CommandContext(args)
    if (experiment_id := batches.experiment_in(args.files[0])) is not None:
        with command_line.saved.opened_store() as store:
            number = next((it.number for it in store.experiments.all() if it.id == experiment_id), None)
        if number is None:
            raise InputError(
                "The results belong to an experiment that the history does not have.",
                hint="Import them on the machine that exported the batch.",
            )
        with closing(assertions.load_assertions()) as catalog:
            return event_loop.run(_import(args, number, context.registry, catalog))
    if result_import.has_results(args.files[0]):
        with _importing() as (importing, progress), command_line.saved.opened_store() as store:

            def show(done: int) -> None:
                if progress.is_due:
                    progress.show(f"{counted(done, 'result')} read")

            number, counts = ResultImport(args.files, importing, args.metric, show).save(store)
        counts["refused"] = importing.refused
        return event_loop.run(_put_imported(args, number, counts, "Their results are missing in the files."))
    template = ""
    if args.template_file is not None:
        template = text_of(args.template_file, hint="Name a text file.", largest=files.LARGEST_TEXT).strip()
    return _write(
        args,
        lambda importing: (entry for path in args.files for entry in entries_in(path, importing)),
        tuple(context.config.engines),
        template,
    )


def suite_from_history(args: Arguments) -> int:
    find = CommandContext(args).registry.find
    with command_line.saved.opened_store() as store:
        numbers = sorted(_conversations(store, args.words))
        engines = store.summaries(numbers)[numbers[0]].engines
        return _write(
            args, lambda importing: history_entries(store, numbers, args.lane, find, importing), engines
        )


def _conversations(store: Store, words: Sequence[str]) -> Iterable[int]:
    """Return the numbers of the conversations that these ids name, or that a search finds. Raises InputError."""
    if words and all(parse_id(word) for word in words):
        return {command_line.saved.conversation_id(word) for word in words}
    hits = store.search(" ".join(words), _MOST, one_each=True)
    found = [it.conversation for it in hits if it.conversation is not None] if words else store.numbers()
    if not found:
        raise InputError(
            "No conversation of the history fits." if words else "The history has no conversations."
        )
    return found


@contextmanager
def _importing(template: str = "") -> Iterator[tuple[SuiteImport, StatusLine]]:
    """Print what is not imported, and yield an import and the line that shows its progress."""
    with StatusLine() as progress:

        def report(message: str) -> None:
            if importing.refused <= suites.PROBLEMS_SHOWN:
                progress.clear()
                output.warn(message)

        importing = SuiteImport(report, template)
        yield importing, progress
    if (more := importing.refused - suites.PROBLEMS_SHOWN) > 0:
        output.warn(f"and {more:,} more")
    for what, times in importing.skipped.items():
        output.note(f"Skipped: {what} ({times:,}).")


def _write(
    args: Arguments,
    entries: Callable[[SuiteImport], Iterable[SuiteEntry]],
    engines: Sequence[str],
    template: str = "",
) -> int:
    """Write a suite, and print what it has and what was skipped. Returns the exit code."""
    file = str(args.new_suite)
    with _importing(template) as (importing, progress):

        def followed() -> Iterator[SuiteEntry]:
            for count, entry in enumerate(entries(importing), start=1):
                yield entry
                if progress.is_due:
                    progress.show(f"{counted(count, 'prompt')} written")

        prompts, answers = write_suite(followed(), args.new_suite, replaces=args.force)
    data: dict[str, Json] = {"file": file, "prompts": prompts, "answers": answers}
    data |= {"refused": importing.refused, "skipped": dict(importing.skipped)}
    recorded = f", {answers:,} of them with a recorded answer" if answers else ""
    message = f"{file} has {counted(prompts, 'prompt')}{recorded}."
    output.put_result(data, message, as_json=args.json)
    show_next(args, "suite from-history", file=file, engines=engines)
    return int(importing.refused > 0)


async def _import(
    args: Arguments, number: int, registry: Registry, catalog: assertions.AssertionCatalog
) -> int:
    async with command_line.saved.opened_history() as history:
        experiment = await history.call(lambda store: store.experiments.get(number))
        await history.call(lambda store: store.experiments.claim(number))
        counts: Counter[str] = Counter()
        with StatusLine() as progress:
            for path in args.files:
                async for problem in batches.read_batch(history, experiment, path, registry, catalog, counts):
                    if problem is not None and counts["refused"] <= suites.PROBLEMS_SHOWN:
                        progress.clear()
                        output.warn(suites.problem_text(path.name, [problem]))
                    if progress.is_due:
                        progress.show(f"{counted(counts.total(), 'line')} read")
    again = "`paragone suite export FILE` writes the runs of servers again."
    return await _put_imported(args, number, counts, again)


async def _put_imported(args: Arguments, number: int, counts: Counter[str], unfinished: str) -> int:
    """Print what an experiment has after an import, and `unfinished` if runs are missing. Returns the exit code."""
    async with command_line.saved.opened_history() as history:
        experiment = await history.call(lambda store: store.experiments.get(number))
        totals = await results.engine_totals(history, experiment)
    left = sum(engine.total - engine.runs for engine in totals)
    if args.json:
        numbers = {name: counts[name] for name in ("answers", "errors", "known", "refused")}
        output.put_json({"id": f"e{number}", **numbers, "left": left})
    else:
        suite_results.put_totals(totals)
    output.note(
        f"Imported: {counted(counts['answers'], 'answer')}, {counted(counts['errors'], 'failed request')}. "
        f"Known before: {counts['known']:,}. Not imported: {counted(counts['refused'], 'line')}."
    )
    if left:
        output.note(f"Not finished: {counted(left, 'run')}. {unfinished}")
    else:
        suite_results.show_next_result(args, "suite import", experiment)
    return 1 if counts["refused"] else 0


def suite_run(args: Arguments) -> int:
    if args.junit is not None:
        check_target(args.junit, args.file, *([] if args.config is None else [args.config]), replaces=True)
        results.check_junit(args.junit)
    context = CommandContext(args)
    with closing(assertions.load_assertions()) as catalog:
        request = suite_request(args, context, catalog, args.schedule or suites.SCHEDULE)
        return event_loop.run(_run(request, context.registry, catalog, args))


async def _run(
    request: suites.SuiteRequest, registry: Registry, catalog: assertions.AssertionCatalog, args: Arguments
) -> int:
    cluster = None
    if args.on is not None:
        from paragone_workbench.experiments.ray_engine import joined_cluster  # Ray takes a second to import

        cluster = await joined_cluster(args.on, request, registry)
        output.note(cluster.sentence)
    async with command_line.saved.opened_history() as history:
        experiment, resumed = await suites.find_or_create(history, request, registry)
        name = f"e{experiment.number}"
        if resumed:
            finished = experiment.done + experiment.failed
            output.note(f"Resuming experiment {name}: {finished:,} of {experiment.runs:,} runs are finished.")
        elif unfinished := await history.call(lambda store: _unfinished(store, experiment)):
            output.note(
                f"Beginning experiment {name}: e{unfinished.number}, which is not finished, differs in its prompts, "
                "its engines or judges, their options, or the file of a model."
            )
        runner = SuiteRunner(history, experiment, request, registry, catalog, cluster=cluster)
        with measurement_progress.SuiteTable(runner):
            async with event_loop.interruptible(runner) as interrupts:
                await runner.run()
        totals = await results.engine_totals(history, experiment, request.chosen)
        total = sum(engine.total for engine in totals)
        left = total - sum(engine.runs for engine in totals)
        if args.junit is not None:
            await results.write_junit(args.junit, history, experiment, totals, request.chosen)
        if args.json:
            runs = results.saved_runs(history, experiment, request.chosen)
            head: dict[str, Json] = {"id": name, "resumed": resumed, "known": runner.taken}
            head["engines"] = [engine.to_json() for engine in totals]
            await suite_results.put_runs(head, (it.to_json() async for it in runs))
        else:
            suite_results.put_totals(totals)
            if runner.taken:
                output.put()
                output.put(results.known_text(runner.taken, total))
        for error in runner.given_up:
            output.print_error(error)
        again = formats.to_continue(fresh=args.fresh)
        if runner.failure is not None:
            raise ParagoneError(
                f"The suite was stopped: {runner.failure.message}",
                hint=f"{runner.failure.hint} Finished runs are kept. {again}".lstrip(),
            )
        if left:
            output.note(f"Not finished: {left:,} of {total:,} runs. {again}")
        elif interrupts.interrupted:
            output.note(f"Interrupted after the last run, perhaps before all judges were asked. {again}")
        if interrupts.interrupted:
            return command_line.INTERRUPTED
        is_clean = all(engine.is_clean for engine in totals) and not runner.given_up
        if not left:
            suite_results.show_next_result(args, "suite run", experiment, unclean=not is_clean)
        return int(not is_clean)


def _unfinished(store: Store, experiment: Experiment) -> Experiment | None:
    """Return the newest earlier experiment of the same name, if it is not finished."""
    for earlier in store.experiments.all():
        if earlier.name == experiment.name and earlier.number < experiment.number:
            return earlier if earlier.done + earlier.failed < earlier.runs else None
    return None
