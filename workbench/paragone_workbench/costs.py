"""The costs of runs by engine, and what the same tokens would cost at providers."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version

from paragone import InputError, Json
from paragone.texts import counted, install_command
from paragone_workbench.runs.result import Costs

PACKAGE = "genai-prices"

REFERENCES = ("groq:llama-3.1-8b-instant", "anthropic:claude-sonnet-5-5")
"""The models that costs are compared with if the user names none: a small open model, and a large model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A provider's prices in US dollars: for an uncached token of a short prompt, and for a generated token."""

    provider: str
    model: str
    prompt_token: Decimal
    completion_token: Decimal

    @property
    def name(self) -> str:
        return f"{self.provider}:{self.model}"

    def of(self, costs: Costs) -> float:
        tokens_in = self.prompt_token * costs.prompt_tokens
        return float(tokens_in + self.completion_token * costs.completion_tokens)


def price_list(names: Iterable[str] = REFERENCES) -> tuple[Price, ...]:
    """Return the current prices of models, each named `PROVIDER:MODEL`. Loading the list takes about a second of CPU
    time. Raises InputError if the package is not installed, or if the list has no such model."""
    try:
        from genai_prices import Usage, calc_price
        from genai_prices.data_snapshot import get_snapshot
    except ModuleNotFoundError as error:
        if error.name != "genai_prices":
            raise
        raise InputError(
            f"The prices of providers need the package {PACKAGE}, which is not installed.",
            hint=f"Install it with: {install_command('prices')}",
        ) from error
    usage = Usage(input_tokens=1, output_tokens=1)  # together, they would have the price of a long prompt
    prices = []
    for name in names:
        provider, _, model = name.partition(":")
        try:
            found = calc_price(usage, model, provider_id=provider)
        except LookupError as error:
            known = [f"{place.id}:{it.id}" for place in get_snapshot().providers for it in place.models]
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or REFERENCES
            raise InputError(
                f"The price list has no model {name!r}.",
                hint=f"Write PROVIDER:MODEL, such as {REFERENCES[0]}. The list has, for example: {', '.join(near)}.",
            ) from error
        prices.append(
            Price(
                provider=found.provider.id,
                model=found.model.id,
                prompt_token=found.input_price,
                completion_token=found.output_price,
            )
        )
    return tuple(prices)


def _changed() -> date | None:
    """Return the day of the last change of a price until today. The list has the days of only some changes."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import StartDateConstraint

    models = (model for provider in get_snapshot().providers for model in provider.models)
    dated = (price for model in models if isinstance(model.prices, list) for price in model.prices)
    days = (it.constraint.start_date for it in dated if isinstance(it.constraint, StartDateConstraint))
    return max((day for day in days if day <= datetime.now(UTC).date()), default=None)


def cost_notes(total: Costs, prices: tuple[Price, ...]) -> list[str]:
    notes, of_all = [], f"of {counted(total.runs, 'run')}"
    if total.uncounted:
        notes.append(
            f"Tokens are missing in {total.uncounted:,} {of_all}, where the engine did not report them."
        )
    if total.estimated:
        notes.append(
            f"Tokens out are estimated in {total.estimated:,} {of_all}: "
            "the engine did not count them, so its pieces of text are counted."
        )
    if prices:
        changed = _changed()
        since = "" if changed is None else f", whose last change took effect on {changed}"
        notes.append(
            f"Prices come from the list in {PACKAGE} {version(PACKAGE)}{since}. "
            "Input tokens have the price of short, uncached prompts."
        )
    return notes


def costs_json(engines: Mapping[str, Costs], prices: tuple[Price, ...]) -> dict[str, Json]:

    def sums(costs: Costs) -> dict[str, Json]:
        return {**asdict(costs), "usd": {price.name: price.of(costs) for price in prices}}

    def model(price: Price) -> dict[str, Json]:
        return {
            "provider": price.provider,
            "model": price.model,
            "prompt_usd_per_million": float(price.prompt_token * 10**6),
            "completion_usd_per_million": float(price.completion_token * 10**6),
        }

    source: dict[str, Json] | None = None
    if prices:
        changed = _changed()
        source = {
            "package": PACKAGE,
            "version": version(PACKAGE),
            "changed": None if changed is None else changed.isoformat(),
            "models": [model(price) for price in prices],
        }
    total = Costs.total(engines.values())
    return {
        "engines": [{"engine": engine, **sums(costs)} for engine, costs in engines.items()],
        "total": sums(total),
        "prices": source,
        "notes": list[Json](cost_notes(total, prices)),
    }


def usd_text(dollars: float) -> str:
    """Return a sum of money, rounded to the cent; below 10 cents, rounded to a ten-thousandth of a cent."""
    if dollars >= 0.1 or not dollars:
        return f"${dollars:,.2f}"
    return f"${dollars:.6f}" if dollars >= 1e-6 else "under $0.000001"
