"""The prices of tokens at providers, from the list in the package genai-prices. The module contacts no server."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING

from paragone import InputError, Json
from paragone.installation import install_command
from paragone_workbench.runs.costs import Costs

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

PACKAGE = "genai-prices"

REFERENCES = ("groq:llama-3.1-8b-instant", "anthropic:claude-sonnet-5-5")
"""The models that costs are compared with if the user names none: a small open model, and a large model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A provider's prices for the tokens of a model, in US dollars."""

    provider: str
    model: str
    prompt_token: Decimal
    """The price of a prompt token that the provider has not cached, in a short prompt."""
    completion_token: Decimal
    """The price of a generated token."""

    @property
    def name(self) -> str:
        """The name by which users name the model: `PROVIDER:MODEL`."""
        return f"{self.provider}:{self.model}"

    def of(self, costs: Costs) -> float:
        """Return what the tokens of these runs would cost, in US dollars."""
        tokens_in = self.prompt_token * costs.prompt_tokens
        return float(tokens_in + self.completion_token * costs.completion_tokens)

    def to_json(self) -> dict[str, Json]:
        """Return the price as `paragone costs --json` prints it."""
        return {
            "provider": self.provider,
            "model": self.model,
            "prompt_usd_per_million": float(self.prompt_token * 10**6),
            "completion_usd_per_million": float(self.completion_token * 10**6),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Prices from the bundled list."""

    version: str
    """The version of the package that has the list."""
    changed: date | None
    """The day of the last dated change of a price in the list, up to today; None if the list has no dated change."""
    prices: tuple[Price, ...]


def price_list(names: Iterable[str] = REFERENCES) -> PriceList:
    """Return the current prices of models, each named `PROVIDER:MODEL`. Loading the list takes about a second of CPU time.

    Raises InputError if the package is not installed, or if the list has no such model.
    """
    try:
        from genai_prices import data_snapshot
    except ModuleNotFoundError as error:
        if error.name != "genai_prices":
            raise
        raise InputError(
            f"The prices of providers need the package {PACKAGE}, which is not installed.",
            hint=f"Install it with: {install_command('prices')}",
        ) from error
    bundled, now = data_snapshot.get_snapshot(), datetime.now(UTC)
    return PriceList(
        version=version(PACKAGE),
        changed=_changed(bundled, now.date()),
        prices=tuple(_price(bundled, name, now) for name in names),
    )


def _price(bundled: DataSnapshot, name: str, now: datetime) -> Price:
    from genai_prices import Usage

    provider, model = _find(bundled, name)

    # The price of one token is used: for the sum of many runs, the list would give the price of a long prompt.
    def of_one(**tokens: int) -> Decimal:
        usage = Usage(**{"input_tokens": 0, "output_tokens": 0, **tokens})
        return model.calc_price(usage, provider, genai_request_timestamp=now).total_price

    return Price(
        provider=provider.id,
        model=model.id,
        prompt_token=of_one(input_tokens=1),
        completion_token=of_one(output_tokens=1),
    )


def _find(bundled: DataSnapshot, name: str) -> tuple[Provider, ModelInfo]:
    """Return the provider and the model of a name. Raises InputError."""
    from genai_prices.data_snapshot import find_provider_by_id

    provider_name, _, model_name = name.partition(":")
    provider = find_provider_by_id(bundled.providers, provider_name)
    if provider is None or not model_name:
        known = [provider.id for provider in bundled.providers]
        raise InputError(
            f"The price list has no provider {provider_name!r}."
            if model_name
            else f"{name!r} names no model of a provider.",
            hint=f"Write PROVIDER:MODEL, such as {REFERENCES[0]}. {_near(provider_name, known)}",
        )
    try:
        return bundled.find_provider_model(model_name, provider, None, None)
    except LookupError as error:
        known = [model.id for model in provider.models]
        raise InputError(
            f"The price list has no model {model_name!r} of {provider.name}.",
            hint=_near(model_name, known),
        ) from error


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or sorted(known)[:5]
    return f"The list has, for example: {', '.join(near)}."


def _changed(bundled: DataSnapshot, today: date) -> date | None:
    """Return the day of the last change of a price up to today. The list has the days of only some changes."""
    from genai_prices.types import StartDateConstraint

    days = (
        conditional.constraint.start_date
        for provider in bundled.providers
        for model in provider.models
        if isinstance(model.prices, list)
        for conditional in model.prices
        if isinstance(conditional.constraint, StartDateConstraint)
    )
    return max((day for day in days if day <= today), default=None)
