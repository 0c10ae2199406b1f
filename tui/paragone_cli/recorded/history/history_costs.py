"""`paragone history costs`: tokens and time of the runs in the history, and what their tokens would cost at providers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from paragone import InputError
from paragone.wording import quoted
from paragone_cli.command_line.formats import date, duration, put_full_names, short_names
from paragone_cli.command_line.output import note, put, put_json, put_line, put_table
from paragone_cli.command_line.saved import opened_store
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.ledger import REFERENCES, Price, cost_notes, costs_json, price_list, usd_text
from paragone_workbench.runs.costs import Costs

_SPAN = re.compile(r"(\d+)([hd])", re.ASCII)


def history_costs(args: HistoryArguments) -> int:
    """Print the sums by engine. Returns the exit code."""
    if args.operands:
        raise InputError(
            f"`paragone history costs` does not take {quoted(args.operands[0])}; --since limits the runs."
        )
    since = None if args.since is None else since_time(args.since, datetime.now())
    prices: tuple[Price, ...] = ()
    try:
        prices = price_list(args.price or REFERENCES)
    except InputError as error:
        if args.price:
            raise
        note(str(error))
    with opened_store() as store:
        engines = store.costs(since or 0.0)
    if args.json:
        put_json({"since": since, **costs_json(engines, prices)})
    elif engines:
        _put(engines, prices)
    else:
        note("The history has no runs" + (f" since {date(since)}." if since is not None else " yet."))
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
    total, short = Costs.total(engines.values()), short_names(engines)
    rows = [(short.get(engine, engine), costs) for engine, costs in (*engines.items(), ("total", total))]
    table = [["ENGINE", "RUNS", "TOKENS IN", "FROM CACHE", "TOKENS OUT", "TIME"]]
    for name, it in rows:
        counts = (it.runs, it.prompt_tokens, it.cached_tokens, it.completion_tokens)
        table.append([name, *(f"{count:,}" for count in counts), duration(it.seconds)])
    put_table(table)
    if prices:
        put()
        put("The same tokens at providers:")
        at_providers = [[name, *(usd_text(price.of(costs)) for price in prices)] for name, costs in rows]
        put_table([["ENGINE", *(price.name for price in prices)], *at_providers])
    put_full_names(short)
    put()
    for sentence in cost_notes(total, prices):
        put_line(sentence)
