"""The newest measurements of each engine in the history, as the figures of a decision need them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from paragone import Backend, InputError, Json
from paragone_workbench.engines.definitions import EngineDefinition, split_options, without_secrets
from paragone_workbench.store.store import Store

Find: TypeAlias = Callable[[str], Backend | None]
"""Returns the backend of a name."""

Measured: TypeAlias = tuple[str, Mapping[str, Json]]
"""The name of an engine, and what was measured of it."""


class KnownMeasurements(NamedTuple):
    """What `bench` and `fidelity` measured of the engines of a report, in the form of their JSON.

    Attributes:
        bench: The speeds and throughputs.
        fidelity: The comparisons of distributions with the reference.
        answers: The comparisons of greedy answers with the reference's, by engine.
    """

    bench: Mapping[str, Json]
    fidelity: Mapping[str, Json]
    answers: Mapping[str, Mapping[str, Json]]


def known_measurements(
    store: Store, engines: Sequence[tuple[str, EngineDefinition]], find: Find, reference: int
) -> KnownMeasurements:
    """Return the newest measurement of each engine, under the names that the engines have now.

    `reference` is the index of the engine from which the KL divergences are wanted: those from another one are left out.
    """
    names = [(name, identity_of(engine, find)) for name, engine in engines]
    wanted = names[reference][1]
    speeds: dict[str, Mapping[str, Json]] = {}
    throughputs: dict[str, Mapping[str, Json]] = {}
    for measurement in store.measurements.all("bench"):
        for engine, data in _measured(measurement.engines, measurement.data.get("engines")):
            for found, key in ((speeds, "tests"), (throughputs, "users")):
                if objects(data.get(key)):
                    _add(found, names, identity_of(engine, find), data)
    fidelity: dict[str, Mapping[str, Json]] = {}
    answers: dict[str, Mapping[str, Json]] = {}
    for measurement in store.measurements.all("fidelity"):
        if measurement.engines and identity_of(measurement.engines[0], find) == wanted:
            for engine, data in _measured(measurement.engines, measurement.data.get("candidates")):
                _add(fidelity, names, identity_of(engine, find), data)
            free = measurement.data.get("free_running")
            greedy = free.get("candidates") if isinstance(free, Mapping) else None
            for engine, data in _measured(measurement.engines, greedy, "candidate"):
                _add(answers, names, identity_of(engine, find), {**data, "reference": names[reference][0]})
    bench: list[Json] = [
        {**throughputs.get(name, {}), **speeds.get(name, {}), "users": throughputs.get(name, {}).get("users")}
        for name in dict.fromkeys([*speeds, *throughputs])
    ]
    greedily = {name: {**data, "candidate": name} for name, data in answers.items()}
    return KnownMeasurements({"engines": bench}, {"candidates": list(fidelity.values())}, greedily)


def identity_of(engine: EngineDefinition, find: Find) -> str:
    """Return what an engine has in common with others that compute the same distributions."""
    backend = find(engine.backend)
    known = without_secrets(engine, backend)
    options: Mapping[str, Json] = {**known.options, "address": known.address}
    if backend is not None:
        with contextlib.suppress(InputError):  # this version of the backend does not declare an option
            options, _ = split_options(known, backend)
    return json.dumps([engine.backend, engine.model, dict(options)], sort_keys=True)


def objects(found: Json) -> list[Mapping[str, Json]]:
    """Return the objects of a list in JSON."""
    return [item for item in (found if isinstance(found, list | tuple) else ()) if isinstance(item, Mapping)]


def _measured(
    engines: Sequence[EngineDefinition], data: Json, name_field: str = "engine"
) -> Iterator[tuple[EngineDefinition, Mapping[str, Json]]]:
    by_name = {engine.name: engine for engine in engines}
    for item in objects(data):
        engine = by_name.get(str(item.get(name_field)))
        if engine is not None:
            yield engine, item


def _add(
    found: dict[str, Mapping[str, Json]],
    names: Sequence[tuple[str, str]],
    identity: str,
    data: Mapping[str, Json],
) -> None:
    """Add the data under the names of the engines that are the same, unless there are newer ones."""
    for name, own in names:
        if own == identity and name not in found:
            found[name] = {**data, "engine": name}
