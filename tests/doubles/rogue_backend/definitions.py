"""Engines of the rogue backend, as a config would define them."""

from paragone import Json
from paragone_workbench.engines.definitions import EngineDefinition


def rogue(model: str, name: str = "", **options: Json) -> EngineDefinition:
    return EngineDefinition(name=name or model, backend="rogue", model=model, options=options)
