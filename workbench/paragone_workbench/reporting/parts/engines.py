"""The engines of a report, with their loaded models and the options that were set."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import LoadedModel
from paragone.options import value_text
from paragone.wording import size_text
from paragone_workbench.engines.definitions import (
    BackendLookup,
    EngineDefinition,
    address_of,
    without_secrets,
)
from paragone_workbench.reporting.content import EngineView, Fact
from paragone_workbench.reporting.parts.answers import settings_in_force
from paragone_workbench.reporting.public_text import public
from paragone_workbench.runs.result import RunResult


def engine_view(
    name: str,
    definition: EngineDefinition,
    run: RunResult | None,
    find: BackendLookup,
) -> EngineView:
    """Return an engine for the report. `run` is a run of the engine; without a run, the loaded model is unknown."""
    backend = find(definition.backend)
    shown = without_secrets(definition, backend)
    facts = [("Backend", shown.backend), ("Model", shown.model)]
    if address := address_of(shown, backend):
        facts.append(("Server", address))
    if run is not None and run.loaded is not None:
        facts += _loaded(run.loaded)
    options = ", ".join(f"{key}={value_text(value)}" for key, value in shown.options.items())
    facts.append(("Options set", options or "none"))
    if run is not None and (settings := settings_in_force(run)):
        in_force = ", ".join(f"{fact.name}={fact.value}" for fact in settings if fact.name != "seed")
        facts.append(("In force", in_force))
    return EngineView(
        name=public(name), facts=tuple(Fact(name=key, value=public(value)) for key, value in facts)
    )


def _loaded(loaded: LoadedModel) -> Iterator[tuple[str, str]]:
    if loaded.quantization:
        yield "Quantization", loaded.quantization
    if loaded.size:
        yield "Weights", size_text(loaded.size)
    if loaded.context:
        yield "Context", f"{loaded.context:,} tokens"
