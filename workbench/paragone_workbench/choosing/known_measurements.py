"""What earlier measurements in the history say of the engines in question, as long as their models' files are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from paragone import Json
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.store.experiment_records import Measurement

Measured: TypeAlias = Mapping[str, Json]
"""What was measured of an engine, as `bench` or `fidelity` print it with --json."""

FEWEST_WINDOWS = 4
"""Smallest number of windows of a fidelity that counts: fewer give no uncertainty."""


def known_speeds(
    measurements: Iterable[Measurement], identities: Mapping[str, str], test: BenchTest
) -> dict[str, Measured]:
    """Return the newest speeds, by the names of the engines, all of one test: `test`, or another that all engines have.

    `identities` has the identity of each engine by its name. The newest measurement comes first.
    """
    by_test: dict[tuple[Json, ...], dict[str, Measured]] = {}
    for measurement in measurements:
        for name, item in _items(measurement, identities, "engines"):
            for found in _objects(item.get("tests")):
                if found.get("repetitions"):
                    key = tuple(found.get(field) for field in ("prompt_tokens", "depth", "tokens"))
                    by_test.setdefault(key, {}).setdefault(name, {"engine": name, "tests": [found]})
    wanted = by_test.get((test.prompt_tokens, test.depth, test.tokens), {})
    if len(wanted) == len(identities):
        return wanted
    whole = (speeds for speeds in by_test.values() if len(speeds) == len(identities))
    return next(whole, wanted)


class KnownFidelity(NamedTuple):
    """What is known of the fidelity to a reference, by the names of the candidates.

    Attributes:
        candidates: The comparisons of distributions.
        answers: The comparisons of greedy answers.
        data: The newest measurement, without these; empty if there is none.
    """

    candidates: dict[str, Measured]
    answers: dict[str, Measured]
    data: Measured


def known_fidelity(
    measurements: Iterable[Measurement],
    identities: Mapping[str, str],
    reference: str,
    window: int,
    fewest_answers: int,
) -> KnownFidelity:
    """Return the newest fidelity of each candidate to the reference, over the text that comes with paragone.

    Fewer greedy answers than `fewest_answers` do not count.
    """
    known = KnownFidelity({}, {}, {})
    for measurement in measurements:
        data = measurement.data
        same = measurement.identities[:1] == (identities[reference],)
        if not same or data.get("text") is not None or data.get("window") != window:
            continue
        known = known._replace(data=known.data or data)
        for name, item in _items(measurement, identities, "candidates"):
            windows = item.get("windows")
            whole = isinstance(windows, int) and windows >= FEWEST_WINDOWS
            if name != reference and (whole or item.get("reason") is not None):
                known.candidates.setdefault(name, {**item, "engine": name})
        answers = data.get("free_running")
        if isinstance(answers, Mapping):
            for name, item in _items(measurement, identities, "candidates", answers, "candidate"):
                prompts = item.get("prompts")
                if name != reference and isinstance(prompts, int) and prompts >= fewest_answers:
                    known.answers.setdefault(name, {**item, "candidate": name, "reference": reference})
    return known


def _items(
    measurement: Measurement,
    identities: Mapping[str, str],
    field: str,
    data: Measured | None = None,
    name_field: str = "engine",
) -> Iterator[tuple[str, Measured]]:
    """Yield what a measurement has of the engines, by the names that these have now."""
    items = (measurement.data if data is None else data).get(field)
    by_name = by_engine(items, name_field)
    for engine, identity in zip(measurement.engines, measurement.identities, strict=False):
        for name, own in identities.items():
            if own == identity and engine.name in by_name:
                yield name, by_name[engine.name]


def by_engine(items: Json, field: str) -> dict[str, Measured]:
    """Return the objects in a list by the name of the engine that a field of each has."""
    return {str(item[field]): item for item in _objects(items) if field in item}


def _objects(found: Json) -> list[Mapping[str, Json]]:
    return [item for item in (found if isinstance(found, list | tuple) else ()) if isinstance(item, Mapping)]
