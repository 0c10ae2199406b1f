"""`paragone history`: the conversations of the history, files with conversations, and the costs of runs."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from paragone import InputError, Json
from paragone.texts import counted, quoted
from paragone_cli.command_line import output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import date, duration, metrics_text
from paragone_cli.command_line.next_command import show_next
from paragone_cli.command_line.progress import ProgressLine, StatusLine, Stream, print_answer
from paragone_cli.command_line.saved import conversation_id, open_store, opened_history, opened_store
from paragone_workbench.blocks import brief_names
from paragone_workbench.compare.divergence import answer_json
from paragone_workbench.config.state import State
from paragone_workbench.consent import remember_export
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.costs import REFERENCES, Price, cost_notes, costs_json, price_list, usd_text
from paragone_workbench.engines.registry import Registry
from paragone_workbench.files import exporting, importing
from paragone_workbench.ids import parse_id
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session, continue_run
from paragone_workbench.paths import state_file
from paragone_workbench.runs.result import Costs
from paragone_workbench.runs.run import Run
from paragone_workbench.store import SavedConversation
from paragone_workbench.store.records import FILTERS, read_query
from paragone_workbench.store.saving import History


def history_continue(args: Arguments) -> int:
    found = parse_id(args.answer)
    if found is None or found.kind != "r":
        raise InputError(
            f"{args.answer!r} is not the id of an answer.",
            hint="`paragone history show c7` lists the answers of c7.",
        )
    return run(_continue(CommandContext(args), found.number, as_json=args.json))


async def _continue(context: CommandContext, number: int, *, as_json: bool) -> int:
    async with opened_history() as history:
        session = Session(context.registry, engines=context.config.engines)
        session.recorder.open(history)
        async with interruptible(session) as interrupts:
            lane, answer = await _found(session, history, number)
            stream = None if as_json else Stream(interrupts.stop)
            with ProgressLine([lane.engine]) as progress:
                await context.registry.load([lane.engine.definition.backend])
                lane.open()
                await lane.engine.opened()
                lane.engine.require_open()
                again = continue_run(session, lane, answer)
                progress.follow(0, again)
                await print_answer(again, stream, progress)
            await session.saved()
        if again.error is not None:
            output.print_error(again.error)
        else:
            output.note(f"Saved as r{again.number}, a variant of r{number}.")
        return interrupts.exit_code([] if again.error is None else [again.error], nothing_done=False)


async def _found(session: Session, history: History, number: int) -> tuple[Lane, Run]:
    """Return the answer with this number, and its lane. Raises InputError."""
    await session.reopen(await history.call(lambda store: store.conversation_of(number)))
    answers = ((lane, answer) for lane in session.lanes for answer in lane.record.runs)
    for lane, answer in answers:
        if answer.number == number:
            return lane, answer
    raise InputError(
        f"The lane of r{number} was closed.", hint="Only answers of lanes that are open can go on."
    )


_SPAN = re.compile(r"(\d+)([hd])", re.ASCII)


def history_costs(args: Arguments) -> int:
    since = None if args.since is None else since_time(args.since, datetime.now())
    prices: tuple[Price, ...] = ()
    try:
        prices = price_list(args.price or REFERENCES)
    except InputError as error:
        if args.price:
            raise
        output.note(str(error))
    with opened_store() as store:
        engines = store.costs(since or 0.0)
    if args.json:
        output.put_json({"since": since, **costs_json(engines, prices)})
    elif engines:
        _put(engines, prices)
    else:
        output.note("The history has no runs" + (f" since {date(since)}." if since is not None else " yet."))
    return 0


def since_time(text: str, now: datetime) -> float:
    """Return the start of a date in local time (`2026-11-01`), or `now` minus a span (`7d`, `24h`), in seconds since 1970.

    Raises InputError if the text has neither form.
    """
    span = _SPAN.fullmatch(text)
    try:
        if span is None:
            return datetime.strptime(text, "%Y-%m-%d").timestamp()
        hours = int(span[1]) * (24 if span[2] == "d" else 1)
        return (now - timedelta(hours=hours)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} is neither a date nor a span of time.",
            hint="Write a date, such as 2026-11-01, or a number of days or hours, such as 7d or 24h.",
        ) from error


def _put(engines: Mapping[str, Costs], prices: tuple[Price, ...]) -> None:
    total, short = Costs.total(engines.values()), brief_names(engines)
    rows = [(short.get(engine, engine), costs) for engine, costs in (*engines.items(), ("total", total))]
    table = [["ENGINE", "RUNS", "TOKENS IN", "FROM CACHE", "TOKENS OUT", "TIME"]]
    for name, it in rows:
        counts = (it.runs, it.prompt_tokens, it.cached_tokens, it.completion_tokens)
        table.append([name, *(f"{count:,}" for count in counts), duration(it.seconds)])
    output.put_table(table)
    if prices:
        output.put()
        output.put("The same tokens at providers:")
        at_providers = [[name, *(usd_text(price.of(costs)) for price in prices)] for name, costs in rows]
        output.put_table([["ENGINE", *(price.name for price in prices)], *at_providers])
    output.put_whole_names(short)
    output.put()
    for message in cost_notes(total, prices):
        output.put_line(message)


def history_delete(args: Arguments) -> int:
    numbers = dict.fromkeys(map(conversation_id, args.conversations))
    with opened_store() as store:
        found = [store.load(number) for number in numbers]
        if not args.yes:
            output.require_answer()
            for saved in found:
                prompts = counted(len(saved.conversation.prompts), "prompt")
                output.note(f"c{saved.conversation.number} · {saved.title} · {prompts}")
            if not output.confirmed("Delete for good?"):
                output.note("Nothing was deleted.")
                return 1
        for number in numbers:
            store.delete_conversation(number)
    data = {"deleted": [f"c{number}" for number in numbers]}
    output.put_result(data, f"{counted(len(numbers), 'conversation')} deleted.", as_json=args.json)
    return 0


_MANY = 1000
"""Number of conversations from which on lines tell the progress, if standard error is not a terminal."""


def show_count(progress: StatusLine, what: str, done: int, total: int) -> None:
    """Show how many conversations are done; without a total, conversations of a file are being read."""
    if not total and progress.is_due:
        progress.show(f"{done:,} conversations read")
    elif total and (progress.on or total >= _MANY) and done < total:
        progress.show_progress(f"{done:,} of {total:,} conversations {what}.", done, total)


def history_export(args: Arguments) -> int:
    if args.all == bool(args.conversations):
        raise InputError("Name the conversations to export, such as c7, or write --all.")
    numbers = None if args.all else [*map(conversation_id, args.conversations)]
    with opened_store(reads_damaged=True) as store, StatusLine() as progress:
        count = partial(show_count, progress, "written")
        exported = exporting.export_conversations(
            store, args.file, numbers, Registry().find, replaces=args.force, progress=count
        )
    remember_export(exported.path, State(state_file()))
    for message in exported.left_out:
        output.warn(message)
    data: dict[str, Json] = {
        "file": str(exported.path),
        "exported": [f"c{number}" for number in exported.numbers],
        "bytes": exported.size,
    }
    output.put_result(data, str(exported), as_json=args.json)
    return int(bool(exported.left_out))


def history_import(args: Arguments) -> int:
    """Add the conversations, or none if one of them cannot be read. Returns the exit code."""
    found = parse_id(args.source)
    if found is not None and found.kind == "e" and found.run is not None:
        with opened_store() as store:
            imported = [importing.add_prompt(store, found.number, found.run)]
        message = f"The prompt of {args.source} is the conversation c{imported[0].number}."
    else:
        path, context = Path(args.source), CommandContext(args)
        folders, consent = context.config.models.folders, context.consent(path)
        with StatusLine() as progress:

            def require(actions: Sequence[str]) -> None:
                progress.clear()
                consent.require(actions)

            count = partial(show_count, progress, "imported")
            imported = [*importing.import_file(path, open_store, context.registry, folders, require, count)]
        message = importing.import_text(imported)
    listed: list[Json] = [{"id": f"c{one.number}", "title": one.title, "new": one.is_new} for one in imported]
    output.put_result({"imported": listed}, message, as_json=args.json)
    show_next(args, "history import", id=f"c{imported[0].number}" if imported else "")
    return 0


def history_rename(args: Arguments) -> int:
    number = conversation_id(args.conversation)
    title = " ".join(args.words).strip()
    if not title:
        raise InputError(
            "The new title is needed.", hint=f"Write for example: paragone history rename c{number} Colours"
        )
    with opened_store() as store:
        store.rename(number, title)
        saved_as = store.summaries([number])[number].title
    data = {"id": f"c{number}", "title": saved_as}
    output.put_result(data, f"c{number} has the new title.", as_json=args.json)
    return 0


def history_tag(args: Arguments) -> int:
    number = conversation_id(args.conversation)
    with opened_store() as store:
        store.tag(number, args.words)
        tags = store.summaries([number])[number].tags
    message = f"c{number} has the tags {', '.join(tags)}." if tags else f"c{number} has no tags."
    output.put_result({"id": f"c{number}", "tags": list(tags)}, message, as_json=args.json)
    return 0


def history_pin(args: Arguments, *, pinned: bool) -> int:
    number = conversation_id(args.conversation)
    with opened_store() as store:
        store.pin(number, pinned=pinned)
    message = f"c{number} is {'listed first' if pinned else 'no longer listed first'}."
    output.put_result({"id": f"c{number}", "pinned": pinned}, message, as_json=args.json)
    return 0


_TEXT_WIDTH = 61


def history_list(args: Arguments) -> int:
    query = read_query(" ".join(args.words))
    if query.words:
        raise InputError(
            f"{quoted(query.words[0])} is not a filter.",
            hint=f"`paragone history list` takes {', '.join(f'{name}:…' for name in FILTERS)}; "
            "`paragone history search` finds words, and `paragone history show` shows a conversation.",
        )
    with opened_store() as store:
        found = store.conversations(args.limit, query=query)
        count = 0 if found or args.words else len(store.experiments.all())
    if args.words:
        nothing = "No conversation fits these filters."
    else:
        more = f", but {counted(count, 'experiment')}, which `paragone suite list` lists" if count else ""
        nothing = f"The history has no conversations yet{more}."
    listed: list[Json] = [
        {
            "id": f"c{it.number}",
            "title": it.title,
            "engines": list(it.engines),
            "prompts": it.prompts,
            "updated": it.updated,
            "tags": list(it.tags),
            "pinned": it.is_pinned,
            "interrupted": it.is_interrupted,
        }
        for it in found
    ]
    rows = []
    for it in found:
        labels = (
            *(f"#{tag}" for tag in it.tags),
            *["(pinned)"] * it.is_pinned,
            *["(interrupted)"] * it.is_interrupted,
        )
        title = _first(" ".join((it.title, *labels)))
        rows.append((f"c{it.number}", date(it.updated), str(it.prompts), ", ".join(it.engines), title))
    heading = ("ID", "LAST USED", "PROMPTS", "ENGINES", "TITLE")
    output.put_list({"conversations": listed}, rows, nothing, as_json=args.json, heading=heading)
    show_next(args, "history list", id=f"c{found[0].number}" if found else "")
    return 0


def history_show(args: Arguments) -> int:
    number = conversation_id(args.conversation)
    with opened_store() as store:
        saved = store.load(number)
    by_prompt: defaultdict[Prompt | None, list[Run]] = defaultdict(list)
    for answer in saved.runs:
        by_prompt[answer.prompt].append(answer)
    if args.json:
        listed: list[Json] = [
            {
                "text": prompt.text,
                "files": [{"name": file.name, "size": file.size} for file in prompt.files],
                "runs": [_run(saved, answer) for answer in by_prompt[prompt]],
            }
            for prompt in saved.conversation.prompts
        ]
        output.put_json({"id": f"c{number}", "title": saved.title, "prompts": listed})
        return 0
    for prompt in saved.conversation.prompts:
        output.put_line(f"> {_first(prompt.written)}")
        for name in (*(file.label for file in prompt.files), *(image.name for image in prompt.images)):
            output.put_line(f"  [{name}]")
        for answer in by_prompt[prompt]:
            result = answer.result
            words = result.message if result.error else _first(result.text)
            output.put_line(f"  r{answer.number}  {result.definition.name}  {_state(saved, answer)}  {words}")
            if result.metrics is not None:
                output.put(f"      {metrics_text(result.metrics)}")
    show_next(args, "history show", id=f"c{number}")
    return 0


def _run(saved: SavedConversation, run: Run) -> dict[str, Json]:
    return {
        "id": f"r{run.number}",
        "state": _state(saved, run),
        "started": run.result.started,
        **answer_json(run.result, with_tokens=False),
    }


def _state(saved: SavedConversation, run: Run) -> str:
    return "running" if run.id in saved.running else run.state


def _first(text: str) -> str:
    return output.shortened(" ".join(text.split()), _TEXT_WIDTH)


def history_search(args: Arguments) -> int:
    text = " ".join(args.words)
    if not text.strip():
        raise InputError(
            "No words to search for were given.", hint="Write for example: paragone history search colour"
        )
    with opened_store() as store:
        hits = store.search(text, args.limit)
    listed: list[Json] = [
        {
            "id": hit.id,
            "title": hit.title,
            "engine": hit.engine,
            "text": hit.snippet,
            "marks": [list(mark) for mark in hit.marks],
            "time": hit.time,
        }
        for hit in hits
    ]
    rows = []
    for hit in hits:
        by = hit.engine or ("title" if hit.prompt_id is None else "prompt")
        rows.append((hit.id, date(hit.time), by, hit.snippet))
    nothing = "No prompt, no answer and no title has all of these words."
    output.put_list({"hits": listed}, rows, nothing, as_json=args.json, heading=("ID", "TIME", "BY", "TEXT"))
    first = hits[0].id if hits else ""
    show_next(args, "history search", **{"answer" if "/" in first else "id": first})
    return 0
