"""An engine in a parity check, with its model, its run and the compared values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paragone import Backend, Capabilities, Json, LoadedModel, Message, RunSettings
from paragone.facts import StandardFact
from paragone.options import OptionInfo, describe
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult

_SEED = "seed"
"""The standard name of the one option whose value engines draw for each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """An engine, with its model and its run as far as they are known. Lanes with the same engine have different names."""

    name: str
    definition: EngineDefinition
    backend: Backend | None
    loaded: LoadedModel | None
    """The open model; None if the engine is not open."""
    run: RunResult | None = None
    """The engine's run for the compared prompt; None if there is none."""
    messages: tuple[Message, ...] | None = None
    """The messages of the request; None if unknown."""
    chosen: frozenset[str] = frozenset()
    """Options that the user has set for this engine alone while comparing."""

    @classmethod
    def of_run(
        cls,
        run: RunResult,
        backend: Backend | None,
        *,
        name: str = "",
        messages: tuple[Message, ...] | None = None,
    ) -> Side:
        """Return the side of a run that has ended."""
        return cls(
            name=name or run.definition.name,
            definition=run.definition,
            backend=backend,
            loaded=run.loaded,
            run=run,
            messages=messages,
        )

    @property
    def settings(self) -> RunSettings:
        """The settings in force in the run; without a run, all are unknown."""
        return (self.run.settings if self.run is not None else None) or RunSettings()

    @property
    def metrics(self) -> RunMetrics:
        """The metrics of the run; without a run, all are unknown."""
        return (self.run.metrics if self.run is not None else None) or RunMetrics()

    @property
    def prompt_tokens(self) -> int | None:
        """Number of tokens of the rendered prompt; None if unknown."""
        ids = self.settings.prompt_ids
        return self.metrics.prompt_tokens if ids is None else len(ids)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the engine, or else of its backend."""
        if self.loaded is not None and self.loaded.capabilities is not None:
            return self.loaded.capabilities
        return self.backend.capabilities if self.backend is not None else Capabilities()

    def fact(self, fact: StandardFact) -> str | None:
        """Return a fact of the open model; None if the fact is unknown."""
        if self.loaded is None:
            return None
        value: object = getattr(self.loaded, fact.name) if fact.field else self.loaded.facts.get(fact.name)
        return None if value is None else str(value).strip()

    def sampling(self) -> Mapping[str, Json]:
        """Return the sampling options that are known to be in force, by their standard names.

        Before a run, these are the options of the definition and the declared defaults. The value None means that the
        option is not set.
        """
        values = dict(self.settings.sampling or {})
        if self.run is None and self.backend is not None:
            infos = describe(self.backend.sampling)
            defaults = {info.name: info.default for info in infos if info.default not in (None, [])}
            names = {info.name for info in infos if not info.secret}
            own = {name: value for name, value in self.definition.options.items() if name in names}
            values = {**defaults, **own}
        standard = {info.name: name for name, info in self.sampling_options().items()}
        return {standard.get(name, name): value for name, value in values.items()}

    def has_drawn(self, option: OptionInfo | None) -> bool:
        """Whether the engine chose an option's value for this run alone, as engines do with seeds that nobody sets."""
        if option is None or self.run is None or (option.fact or option.name) != _SEED:
            return False
        asked = self.run.request.get("sampling")
        return option.name not in self.definition.options and not (
            isinstance(asked, Mapping) and option.name in asked
        )

    def sampling_options(self) -> Mapping[str, OptionInfo]:
        """Return the declared sampling options by their standard names."""
        if self.backend is None:
            return {}
        return {info.fact or info.name: info for info in describe(self.backend.sampling) if not info.secret}

    def load_options(self) -> Mapping[str, OptionInfo]:
        """Return the load options that set a standard fact, by the fact's name."""
        if self.backend is None:
            return {}
        return {info.fact: info for info in describe(self.backend.load_options) if info.fact}


def is_chosen(sides: Sequence[Side], options: Mapping[str, OptionInfo | None]) -> bool:
    """Whether the user set an option for all sides, or for one side while comparing. `options` has each side's option."""
    named = [(side, option.name) for side in sides if (option := options[side.name]) is not None]
    for_all = len(named) == len(sides) and all(
        side.definition.options.get(name) is not None for side, name in named
    )
    return for_all or any(name in side.chosen for side, name in named)
