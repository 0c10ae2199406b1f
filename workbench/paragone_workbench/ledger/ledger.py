"""The ledger: the costs of runs by engine, and what the same tokens would cost at providers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone import Json
from paragone.wording import counted
from paragone_workbench.ledger.prices import PACKAGE, Price, PriceList
from paragone_workbench.runs.costs import Costs
from paragone_workbench.runs.result import RunResult


def costs_by_engine(results: Iterable[RunResult]) -> Mapping[str, Costs]:
    """Return the costs of runs by the names of their engines, in the order of the runs, without engines that cost nothing."""
    parts: defaultdict[str, list[Costs]] = defaultdict(list)
    for result in results:
        if (costs := Costs.of(result)).runs:
            parts[result.definition.name].append(costs)
    return {engine: Costs.total(costs_of_runs) for engine, costs_of_runs in parts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The costs of runs, and prices of providers for comparison."""

    engines: Mapping[str, Costs]
    """The costs by the engines' names."""
    prices: PriceList | None
    """The prices of providers; None if unknown."""
    missing: Sequence[str] = ()
    """Sentences that say why the energy of devices of this machine is not counted, and how to count it."""
    since: float | None = None
    """The time in seconds since 1970 from which on runs are included; None for all runs."""

    @property
    def total(self) -> Costs:
        """The costs of all engines together."""
        return Costs.total(self.engines.values())

    @property
    def models(self) -> tuple[Price, ...]:
        """The models of providers whose prices are known."""
        return () if self.prices is None else self.prices.prices

    def notes(self) -> Iterator[str]:
        """Yield sentences on what is missing or estimated in the costs, and on the source of the prices."""
        total = self.total
        of_all = f"of {counted(total.runs, 'run')}"
        if total.uncounted:
            yield f"Tokens are missing in {total.uncounted:,} {of_all}, where the engine did not report them."
        if total.estimated:
            yield (
                f"Tokens out are estimated in {total.estimated:,} {of_all}: "
                "the engine did not count them, so the pieces that it sent are counted."
            )
        if total.measured:
            yield f"The energy is that of {', '.join(total.devices)}, including everything else that ran there."
            if total.measured < total.runs:
                yield f"The energy is known for {total.measured:,} {of_all}."
        if total.shared:
            yield (
                f"In {counted(total.shared, 'run')} other runs computed at the same time (shared): "
                "each run got an equal part of the energy of that time."
            )
        yield from self.missing
        if self.prices is not None:
            changed = self.prices.changed
            yield (
                f"Prices are those of the list in {PACKAGE} {self.prices.version}"
                f"{'' if changed is None else f', whose last change took effect on {changed}'}. "
                "Tokens in have the price of short prompts that a provider has not cached."
            )

    def to_json(self) -> dict[str, Json]:
        """Return the ledger as `paragone costs --json` prints it."""
        prices = self.prices
        return {
            "since": self.since,
            "engines": [{"engine": engine, **self._costs(costs)} for engine, costs in self.engines.items()],
            "total": self._costs(self.total),
            "prices": None
            if prices is None
            else {
                "package": PACKAGE,
                "version": prices.version,
                "changed": None if prices.changed is None else prices.changed.isoformat(),
                "models": [price.to_json() for price in prices.prices],
            },
            "notes": list(self.notes()),
        }

    def _costs(self, costs: Costs) -> dict[str, Json]:
        return {**costs.to_json(), "usd": {price.name: price.of(costs) for price in self.models}}
