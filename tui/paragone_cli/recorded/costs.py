"""`paragone costs`: tokens, time and energy of the runs in the history, and what their tokens would cost at providers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from paragone import InputError
from paragone_cli.command_line.arguments import PrintArguments, command, option, repeated
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.formats import date, duration, put_full_names, short_names
from paragone_cli.command_line.output import note, put, put_json, put_line, put_table
from paragone_cli.command_line.saved import opened_store
from paragone_workbench.ledger.ledger import Ledger
from paragone_workbench.ledger.prices import REFERENCES, PriceList, price_list
from paragone_workbench.ledger.since import since_time
from paragone_workbench.ledger.wording import energy_text, usd_text
from paragone_workbench.machine.energy_shares import energy_shares
from paragone_workbench.runs.costs import Costs


@dataclass(frozen=True, kw_only=True)
class CostsArguments(PrintArguments):
    """Which runs are counted, and which prices are shown."""

    since: str | None = option(
        "--since TIME", "only runs since a date (2026-11-01), or of the last days or hours (7d, 24h)"
    )
    price: Sequence[str] = repeated(
        "--price PROVIDER:MODEL",
        f"the model of a provider whose prices are shown; may be repeated. Default: {' and '.join(REFERENCES)}",
    )


@command(CostsArguments)
def costs(args: CostsArguments) -> int:
    """Print the ledger."""
    since = None if args.since is None else since_time(args.since, datetime.now())
    prices = _prices(args.price)
    with opened_store() as store:
        engines = store.costs(since or 0.0)
    missing = run(energy_shares()).missing if engines else ()
    ledger = Ledger(engines=engines, prices=prices, missing=missing, since=since)
    if args.json:
        put_json(ledger.to_json())
    elif not ledger.engines:
        note("The history has no runs" + (f" since {date(since)}." if since is not None else " yet."))
    else:
        _put(ledger)
    return 0


def _prices(names: Sequence[str]) -> PriceList | None:
    """Return the prices. If the default prices are not known, print why, and return None. Raises InputError."""
    try:
        return price_list(names or REFERENCES)
    except InputError as error:
        if names:
            raise
        note(str(error))
        return None


def _put(ledger: Ledger) -> None:
    rows = [*ledger.engines.items(), ("total", ledger.total)]
    short = short_names(ledger.engines)
    headings = ["ENGINE", "RUNS", "TOKENS IN", "FROM CACHE", "TOKENS OUT", "TIME", "ENERGY"]
    put_table([headings, *([short.get(engine, engine), *_cells(costs)] for engine, costs in rows)])
    if ledger.models:
        put()
        put("The same tokens at providers:")
        table = [["ENGINE", *(price.name for price in ledger.models)]]
        for engine, costs in rows:
            table.append([short.get(engine, engine), *(usd_text(price.of(costs)) for price in ledger.models)])
        put_table(table)
    put_full_names(short)
    put()
    for sentence in ledger.notes():
        put_line(sentence)


def _cells(costs: Costs) -> list[str]:
    counts = (costs.runs, costs.prompt_tokens, costs.cached_tokens, costs.completion_tokens)
    return [*(f"{count:,}" for count in counts), duration(costs.seconds), energy_text(costs)]
