"""What came of experiments: list, show and compare of `paragone suite`, and `paragone vote`."""

import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence

from paragone import Json, ParagoneError
from paragone.options import value_text
from paragone.texts import counted
from paragone_cli.command_line import event_loop, formats, output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import show_next
from paragone_cli.command_line.saved import experiment_id, opened_history, opened_store
from paragone_workbench.blocks import brief_names
from paragone_workbench.choosing.decision import choice_of, evidence_for
from paragone_workbench.compare.ratings import Ratings, rate
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import comparison_rows, results, suite
from paragone_workbench.experiments.comparison import compare_suite
from paragone_workbench.experiments.voting import ExperimentBallots
from paragone_workbench.store import Experiment, ExperimentRun, History
from paragone_workbench.store.votes import Vote

_HEADER = ("engine", "runs", "errors", "passed", "tokens", "TTFT p50 (ms)", "tokens/s p50")

_SHARED = (
    "(shared): other runs used this machine or server at the same time, which makes answers slower. `--fresh` with "
    "`--schedule sequential` gives speeds that can be compared."
)


def put_totals(totals: Sequence[results.EngineTotals]) -> None:
    """Print a line for each engine, and a note if speeds are shared. Raises OutputError."""
    short = brief_names(engine.engine for engine in totals)
    rows = []
    for it in totals:
        runs = f"{it.runs:,}" if it.runs == it.total else f"{it.runs:,} of {it.total:,}"
        passed = f"{it.passed:,} of {it.asserted - it.undecided:,}" if it.asserted else "–"
        if it.undecided:
            passed += f", {it.undecided:,} undecided"
        tokens = "–" if it.mean_tokens is None else f"{it.mean_tokens:.1f}"
        speeds = (_speed(it, "ttft_s", 1000), _speed(it, "decode_tps"))
        rows.append((short[it.engine], runs, f"{it.failed:,}", passed, tokens, *speeds))
    output.put_table([_HEADER, *rows])
    output.put_whole_names(short)
    notes = [results.cut_note(short[it.engine], it.cut, it.runs - it.failed) for it in totals]
    notes += [results.load_note(engine.load for engine in totals), *(engine.not_cold for engine in totals)]
    notes += [_SHARED] if any(engine.are_times_shared for engine in totals) else []
    for note in filter(None, notes):
        output.put(f"\n{note}")
    output.flush()


def _speed(engine: results.EngineTotals, name: str, factor: float = 1) -> str:
    quartiles = engine.quartiles(name)
    if not quartiles:
        return "–"
    low, median, high = (f"{factor * value:.1f}" for value in quartiles)
    return (
        median
        + (f" ({low} to {high})" if low != high else "")
        + (" (shared)" if engine.is_shared(name) else "")
    )


async def put_runs(head: Mapping[str, Json], runs: AsyncIterable[Json]) -> None:
    """Print an object with the fields of `head`, and with the runs as its last field. Raises OutputError."""
    output.put("{")
    for name, value in head.items():
        output.put(f"  {output.json_line(name)}: {output.json_line(value)},")
    output.put('  "runs": [')
    before = None
    async for entry in runs:
        if before is not None:
            output.put(f"    {before},")
        before = output.json_line(entry)
    if before is not None:
        output.put(f"    {before}")
    output.put("  ]\n}")
    output.flush()


def suite_list(args: Arguments) -> int:
    with opened_store() as store:
        experiments = store.experiments.all()
    listed: list[Json] = [
        {
            "id": f"e{it.number}",
            "name": it.name,
            "engines": [engine.name for engine in it.engines],
            "prompts": it.prompts,
            "repetitions": it.repetitions,
            "runs": it.runs,
            "done": it.done,
            "failed": it.failed,
            "created": it.created,
        }
        for it in experiments
    ]
    settings = {it.number: _settings(it) for it in experiments}
    rows = []
    for it in experiments:  # those with the same name also show the settings in which they differ
        alike = [settings[other.number] for other in experiments if other.name == it.name]
        own = [setting for setting in settings[it.number] if not all(setting in other for other in alike)]
        engines = ", ".join(brief_names(engine.name for engine in it.engines).values())
        done = f"{it.done + it.failed:,}/{it.runs:,}"
        rows.append(
            (
                f"e{it.number}",
                it.name,
                engines,
                done,
                f"{it.failed:,}",
                formats.date(it.created),
                ", ".join(own),
            )
        )
    heading = ("id", "name", "engines", "done", "failed", "begun", "")
    nothing = "There are no experiments; `paragone suite run FILE --engines ENGINE…` begins one."
    output.put_list({"experiments": listed}, rows, nothing, as_json=args.json, heading=heading)
    show_next(args, "suite list", id=f"e{experiments[0].number}" if experiments else "")
    return 0


def show_next_result(args: Arguments, command: str, experiment: Experiment, *, unclean: bool = False) -> None:
    """Print the command that shows more of an experiment. `unclean` is whether a run or an assertion failed."""
    name, several = f"e{experiment.number}", len(experiment.engines) > 1
    show_next(args, command, id=name, compared=name if several else "", unclean=name if unclean else "")


def _settings(experiment: Experiment) -> list[str]:
    options = {
        f"{name}={value_text(value)}": None
        for engine in experiment.engines
        for name, value in engine.options.items()
    }
    return [experiment.schedule, counted(experiment.repetitions, "repetition"), *options]


SHOWN = 20
"""Largest number of prompts that are shown on a terminal."""


def suite_show(args: Arguments) -> int:
    number = experiment_id(args.experiment)
    experiment = event_loop.run(_show(number, failed=args.failed, as_json=args.json))
    show_next_result(args, "suite show", experiment)
    return 0


async def _show(number: int, *, failed: bool, as_json: bool) -> Experiment:
    async with opened_history() as history:
        experiment = await history.call(lambda store: store.experiments.get(number))
        totals = await results.engine_totals(history, experiment)
        runs = results.saved_runs(history, experiment)
        chosen = (saved async for saved in runs if not failed or not saved.is_clean)
        async with contextlib.aclosing(runs):
            if as_json:
                head: dict[str, Json] = {
                    "id": f"e{experiment.number}",
                    "name": experiment.name,
                    "schedule": experiment.schedule,
                    "prompts": experiment.prompts,
                    "repetitions": experiment.repetitions,
                    "created": experiment.created,
                    "engines": [engine.to_json() for engine in totals],
                }
                await put_runs(
                    head, ({"run": f"e{number}/{saved.number}", **saved.to_json()} async for saved in chosen)
                )
            else:
                parts = [counted(experiment.prompts, "prompt"), counted(len(experiment.engines), "engine")]
                if experiment.repetitions > 1:
                    parts.append(counted(experiment.repetitions, "repetition"))
                begun = formats.date(experiment.created)
                output.put_line(f"e{number} · {experiment.name} · {' × '.join(parts)} · {begun}")
                output.put()
                put_totals(totals)
                await _put_prompts(history, experiment, chosen, failed=failed)
    return experiment


async def _put_prompts(
    history: History, experiment: Experiment, runs: AsyncIterator[ExperimentRun], *, failed: bool
) -> None:
    """Print the runs below their prompts, a line each.

    On a terminal, only the runs of the first prompts are printed, and lines are cut at the terminal's width.
    """
    on_terminal = output.standard_output().isatty()
    width = output.terminal_width() if on_terminal else None
    names = brief_names(engine.name for engine in experiment.engines)
    column = max(len(_name(name, experiment.repetitions - 1, experiment)) for name in names.values())
    shown, last, more = 0, None, False
    async for saved in runs:
        index = saved.key.prompt_index
        if index != last:
            if on_terminal and shown == SHOWN:
                more = True
                break
            shown, last = shown + 1, index
            read = functools.partial(suite.saved_prompt, experiment_id=experiment.number, index=index)
            output.put("\n" + _cut(f"#{index} {(await history.call(read)).text}", width))
        engine = experiment.engines[saved.key.engine_index].name
        name = _name(names[engine], saved.key.repetition, experiment)
        output.put(
            _cut(f"  {name.ljust(column)}  e{experiment.number}/{saved.number}  {_result(saved)}", width)
        )
        for result in saved.checks:
            if result.passed is not True:
                sign = "✗" if result.passed is False else "?"
                output.put(_cut(f"  {' ' * column}  {sign} {result.type}: {result.reason}", width))
    if more:
        options = " --failed" if failed else ""
        output.put(f"\nMore: paragone suite show e{experiment.number}{options} | less")


def _name(engine: str, repetition: int, experiment: Experiment) -> str:
    return f"{engine} [{repetition}]" if experiment.repetitions > 1 else engine


def _result(saved: ExperimentRun) -> str:
    result = saved.result
    if result.error:
        return f"failed: {result.error}"
    passed = sum(check.passed is True for check in saved.checks)
    counted = f"[{passed}/{len(saved.checks)}] " if saved.checks else ""
    return f"{counted}{result.text.strip()}"


def _cut(text: str, width: int | None) -> str:
    line = output.one_line(text)
    return line if width is None else output.shortened(line, width - 1)


def suite_compare(args: Arguments) -> int:
    margin = args.margin / 100
    numbers = dict.fromkeys(map(experiment_id, args.experiments)) or {experiment_id(None): None}
    with opened_store() as store:
        experiments = [store.experiments.get(number) for number in numbers]
        collected = comparison_rows.collect_experiments(store, experiments)
        conditions = comparison_rows.different_conditions(store, experiments, Registry().find)
        choice = None if len(experiments) > 1 or args.all_pairs else choice_of(store, experiments[0])
    unfinished = [
        f"e{experiment.number} is not finished: {experiment.done + experiment.failed:,} of {experiment.runs:,} runs. To continue, run the command that began it again."
        for experiment in experiments
        if experiment.done + experiment.failed < experiment.runs
    ]
    brief = brief_names(values.engine for values in collected)
    for values in () if args.json else collected:
        values.engine = brief[values.engine]
    if choice is None:
        comparison = compare_suite(collected, margin=margin)
    else:
        reference = choice.reference if args.json else brief[choice.reference]
        asked = dataclasses.replace(choice, margin=margin, reference=reference)
        comparison = evidence_for(asked, experiments[0], collected)
    if args.json:
        output.put_json({**comparison.to_json(), "notes": [*conditions, *unfinished, *comparison.notes]})
        return 0
    if conditions:
        output.put("The experiments differ in more than their engines:")
        for message in conditions:
            output.put_line(f"≠ {message}")
        output.put()
    output.put_sections(comparison.sections())
    output.put_whole_names(brief)
    if unfinished:
        output.put("\n".join(["", *unfinished]))
    show_next(args, "suite compare", id=f"e{experiments[-1].number}")
    return 0


def _nothing_to_rate(found: Ratings, experiment: str | None) -> ParagoneError:
    if found.named and not found.includes_named:
        return ParagoneError(
            "There is nothing to rate: in every vote, an answer names its engine or model.",
            hint="`paragone vote ratings` without `--without-named` counts these votes.",
        )
    if found.unblind:
        return ParagoneError(
            f"None of the {found.unblind:,} votes was blind, so there is nothing to rate.",
            hint="`paragone vote ratings --all` counts votes that were not blind.",
        )
    if found.one_engine:
        return ParagoneError(
            "There is nothing to rate: in every vote, all engines had the same name.",
            hint="Ratings know engines by their names. Give one of them another name in config.toml.",
        )
    on = f" on the answers of {experiment}" if experiment is not None else ""
    return ParagoneError(
        f"There are no votes{on} to rate engines by.",
        hint="Vote on the answers of an experiment first, with `paragone vote cast`; see docs/voting.md.",
    )


def ratings(args: Arguments) -> int:
    CommandContext(args)
    found = rate(_votes(args.experiment), include_unblind=args.all, include_named=not args.without_named)
    if not found.votes:
        raise _nothing_to_rate(found, args.experiment)
    if args.json:
        output.put_json(found.to_json())
    else:
        output.put_sections([found.section()])
    show_next(args, "vote ratings", id=args.experiment or "")
    return 0


def _votes(experiment: str | None) -> tuple[Vote, ...]:
    """Return the votes of an experiment, or of all experiments. Raises InputError if the experiment does not exist."""
    with opened_store() as store:
        if experiment is None:
            return store.votes.all()
        return store.votes.all(store.experiments.get(experiment_id(experiment)).number)


def vote(args: Arguments) -> int:
    context = CommandContext(args, warns=False)
    number = experiment_id(args.experiment)
    nothing = _nothing_to_vote_on(number)
    if nothing:
        output.put(nothing)
        return 0
    output.require_terminal("Voting needs a terminal.")
    from paragone_tui.screens.vote import VoteApp

    app = VoteApp(config=context.config, state=context.state, experiment_id=number)
    status = app.run_until_quit()
    if status == 0:
        show_next(args, "vote cast", id=f"e{number}")
    return status


def _nothing_to_vote_on(number: int) -> str:
    """Return why there is nothing to vote on; empty if there are ballots. Raises InputError if there is no experiment."""
    with opened_store() as store:
        ballots = ExperimentBallots(store, number)
        if len(ballots.experiment.engines) < 2:
            return f"e{number} has one engine only: there is nothing to compare."
        if not ballots.total:
            return f"e{number} has no prompt that two engines have answered."
        if ballots.voted == ballots.total:
            return f"All {ballots.total:,} ballots of e{number} have been voted on."
        return ""
