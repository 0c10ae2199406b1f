"""`paragone replay`: repeats recorded runs, and says what came out different and what has changed since."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paragone import InputError
from paragone_cli.arguments import Arguments
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_cli.interrupts import InterruptHandler
from paragone_cli.output import flush, note, one_line, put, put_json, shortened, warn
from paragone_cli.replay_progress import ReplayProgress
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.experiments.replaying.document_reader import read_document
from paragone_workbench.experiments.replaying.recorded import RecordedRun, recorded_runs
from paragone_workbench.experiments.replaying.replay import EngineReport, Replay, ReplayedRun, replayable
from paragone_workbench.experiments.replaying.replay_engines import ReplayChoices, engines_to_replay
from paragone_workbench.experiments.replaying.replay_report import (
    replay_json,
    replay_verdict,
    weights_sentence,
)
from paragone_workbench.store import History

__all__ = ["replay"]

_WORDS = 40
"""Cells of a prompt that are shown."""


def replay(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    context = CommandContext(args)
    context.warn()
    return run(_replay(args, context))


async def _replay(args: Arguments, context: CommandContext) -> int:
    target = args.target or ""
    history = await History.open()
    try:
        if history.warning:
            warn(history.warning)
        found = await _find(history, target)
        runs, skipped = replayable(found)
        choices = ReplayChoices(
            settings=args.settings,
            replacements=args.replacements,
            foreign=parse_id(target) is None,
            trusted=args.trust,
        )
        engines = await engines_to_replay(runs, choices, context.config, context.registry, history)
        for engine in engines:
            if engine.definition.model != engine.recorded.model:
                note(f"{engine.recorded.name} is replayed with {engine.definition.model}.")
        return await _repeat(Replay(engines, context.registry, history), target, skipped, as_json=args.json)
    finally:
        await history.close()


async def _find(history: History, target: str) -> Sequence[RecordedRun]:
    if parse_id(target) is not None:
        return await recorded_runs(history, target)
    path = Path(target).expanduser()
    if not path.exists() and path.suffix != ".json":
        raise InputError(
            f"{target!r} is neither an id nor a file.",
            hint="Name a run (r45 or e3/17), a conversation (c7), an experiment (e3), or a document in JSON. "
            "`paragone history` lists conversations.",
        )
    return read_document(path).runs


async def _repeat(replay: Replay, target: str, skipped: dict[str, str], *, as_json: bool) -> int:
    results: list[ReplayedRun] = []
    interrupts = InterruptHandler(replay)
    async with interrupts.installed():
        progress = ReplayProgress(replay.total)
        async for result in replay.runs():
            results.append(result)
            if not as_json:
                progress.clear()
                _put_run(result)
            progress.repeated()
        progress.end()
    left = replay.total - len(results)
    if as_json:
        put_json(replay_json(target, results, skipped, replay.reports, left=left))
    else:
        for number, reason in skipped.items():
            put(one_line(f"{number}  left out: {reason}"))
        for report in replay.reports:
            _put_report(report)
        put()
        put(one_line(replay_verdict(results, replay.reports, left=left)))
    if interrupts.interrupted:
        return 130
    return int(not all(result.same for result in results))


def _put_run(result: ReplayedRun) -> None:
    heading = f"{result.id}  {result.engine}"
    prompt = f"  > {shortened(one_line(result.prompt), _WORDS)}" if result.prompt else ""
    difference = result.difference
    if result.error is not None:
        put(one_line(f"{heading}  failed: {result.error}{prompt}"))
    elif difference is None:
        put(one_line(f"{heading}  the same{prompt}"))
    else:
        where = "" if difference.channel == "answer" else f" of the {difference.channel}"
        token = "" if difference.token is None else f" (token {difference.token:,})"
        put(one_line(f"{heading}  differs at character {difference.char:,}{where}{token}{prompt}"))
        put(one_line(f"  before: {_quoted(difference.before)}"))
        put(one_line(f"  now:    {_quoted(difference.now)}"))
    flush()


def _quoted(text: str) -> str:
    return f"“{text}”" if text else "(the end)"


def _put_report(report: EngineReport) -> None:
    put()
    put(one_line(f"{report.engine}: weights {weights_sentence(report.weights)}"))
    for change in report.changes:
        put(one_line(f"≠ {change.what}: {change.before} → {change.now}. {change.effect}".rstrip()))
    if not report.describes_past:
        put("? An older version of paragone recorded the runs, without the weights and the machine.")
