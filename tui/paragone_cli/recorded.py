"""`paragone replay` and `paragone report`: repeat recorded runs, and write reports of them."""

import gc
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from paragone import InputError
from paragone.texts import size_text
from paragone_cli.command_line import INTERRUPTED, event_loop, formats, output, saved
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import show_next
from paragone_cli.command_line.progress import StatusLine
from paragone_workbench.config.state import State
from paragone_workbench.consent import remember_export
from paragone_workbench.engines.definitions import expand_home
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import document, replay_engines
from paragone_workbench.experiments import replay as replays
from paragone_workbench.experiments.recorded_runs import Recorded, recorded_runs
from paragone_workbench.files.exporting import write_report
from paragone_workbench.ids import parse_id
from paragone_workbench.paths import accessible, state_file
from paragone_workbench.reporting.file import format_of, newest
from paragone_workbench.store.saving import History
from paragone_workbench.store.store import Store

_PROMPT_WIDTH = 40


def replay(args: Arguments) -> int:
    status = event_loop.run(_replay(args, CommandContext(args)))
    found = parse_id(args.target)
    if status in (0, 1) and found is not None and found.kind in ("c", "e"):
        kind = "experiment" if found.kind == "e" else "conversation"
        show_next(args, "replay", **{kind: f"{found.kind}{found.number}"})
    return status


async def _replay(args: Arguments, context: CommandContext) -> int:
    target = args.target
    async with saved.opened_history() as history:
        found = await _find(history, target)
        runs, skipped = replays.replayable(found)
        engines = await replay_engines.engines_to_replay(
            runs,
            context.config,
            context.registry,
            history,
            settings=args.settings,
            replacements=args.replacements,
            consent=None if parse_id(target) is not None else context.consent(Path(expand_home(target))),
        )
        for engine in engines:
            if engine.definition.model != engine.recorded.model:
                output.note(f"{engine.recorded.name} is replayed with {engine.definition.model}.")
        replay = replays.Replay(engines, context.registry, history)
        async with event_loop.interruptible(replay) as interrupts:
            total, began = replay.total, time.monotonic()
            with StatusLine() as progress:
                progress.show(f"0 of {total:,} runs")
                async for result in replay.runs():
                    if not args.json:
                        progress.clear()
                        _put_run(result)
                    if (done := len(replay.results)) == total:
                        progress.show("comparing the weights")
                    else:
                        left = formats.time_left(began, done, total)
                        percent = "" if progress.on else f"{100 * done // total}%: "
                        progress.show_progress(
                            f"{percent}{done:,} of {total:,} runs, {left} left", done, total
                        )
        if replay.unsaved is not None and not history.warning:
            output.warn(f"Repeated runs were not saved. {replay.unsaved}")
        if args.json:
            output.put_json(replay.to_json(target, skipped))
        else:
            for number, reason in skipped.items():
                output.put_line(f"{number}  skipped: {reason}")
            for engine in replay.engines:
                output.put()
                output.put_line(f"{engine.recorded.name}: weights {engine.weights.sentence}")
                for change in engine.changes:
                    output.put_line(
                        f"≠ {change.what}: {change.before} → {change.now}. {change.effect}".rstrip()
                    )
            output.put()
            output.put_line(replay.verdict)
        if interrupts.interrupted:
            return INTERRUPTED
        return int(not all(result.same for result in replay.results))


async def _find(history: History, target: str) -> Sequence[Recorded]:
    if parse_id(target) is not None:
        return await recorded_runs(history, target)
    path = Path(expand_home(target))
    if not accessible(path) and path.suffix != ".json":
        raise InputError(
            f"{target!r} is neither an id nor a file.",
            hint="Name a run (r45 or e3/17), a conversation (c7), an experiment (e3), or a document in JSON. "
            "`paragone history` lists conversations.",
        )
    return document.read_document(path)


def _put_run(result: Recorded) -> None:
    heading = f"{result.id}  {result.engine}"
    asked = result.messages[-1].text
    prompt = f"  > {output.shortened(output.one_line(asked), _PROMPT_WIDTH)}" if asked else ""
    difference = result.difference
    if result.error is not None:
        output.put_line(f"{heading}  failed: {result.error}{prompt}")
    elif difference is None:
        output.put_line(f"{heading}  the same{prompt}")
    else:
        where = "" if difference.channel == "answer" else f" of the {difference.channel}"
        token = "" if difference.token is None else f" (token {difference.token:,})"
        output.put_line(f"{heading}  differs at character {difference.char:,}{where}{token}{prompt}")
        for when, text in (("before: ", difference.before), ("now:    ", difference.now)):
            output.put_line(f"  {when}{f'“{text}”' if text else '(the end)'}")
    output.flush()


def report(args: Arguments) -> int:
    if args.subject is None:
        raise _without_subject()
    if args.to is None:
        raise InputError(
            "A report needs a file to be written to.",
            hint=f"Write: paragone report {args.subject} --to report.html",
        )
    format_of(args.to, replaces=args.force)  # a wrong file name is reported before the history is opened
    gc.enable()  # `main` turned it off for the imports
    with saved.opened_store() as store:
        size = write_report(store, args.subject, args.to, Registry().find, replaces=args.force)
    remember_export(args.to, State(state_file()))
    output.note(f"{args.to} is written ({size_text(size)}).")
    return 0


def _without_subject() -> InputError:
    """Return the error for a command without an id. Raises StoreError."""
    with closing(Store.open()) as store:
        return InputError(
            "No experiment and no conversation was named.",
            hint=f"Write for example: paragone report e3 --to report.html. {newest(store)}",
        )
