"""Finds earlier measurements of given engines in the history, for decisions and reports.

A measurement belongs to an engine if both have the same `measured_identity`, which includes the model's file. Measurements
of older versions of paragone have no identities and are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from paragone import Json
from paragone.json_values import objects_at, value_at
from paragone_workbench.measure.bench_results import BenchTest
from paragone_workbench.store.experiment_records import Measurement

MeasurementJson: TypeAlias = Mapping[str, Json]
"""The figures of an engine, as `bench` or `fidelity` prints them with --json. This module's functions add `created`, the
time of the measurement in seconds since 1970."""

FEWEST_WINDOWS = 4
"""Smallest number of windows for which a fidelity is used: fewer windows give no uncertainty."""


def known_speeds(
    measurements: Iterable[Measurement], identities: Mapping[str, str], test: BenchTest
) -> dict[str, MeasurementJson]:
    """Return the newest speeds by engine, all from one test: `test`, or another test if only the other test covers all engines.

    `measurements` are in order, newest first. `identities` has the identity of each engine by the engine's name.
    """
    by_test: dict[tuple[Json, ...], dict[str, MeasurementJson]] = {}
    for measurement in measurements:
        for name, item in _items(measurement, identities, measurement.data.get("engines")):
            for found in objects_at(item, "tests"):
                if found.get("repetitions"):
                    key = tuple(found.get(field) for field in ("prompt_tokens", "depth", "tokens"))
                    speed: MeasurementJson = {
                        "engine": name,
                        "tests": [found],
                        "created": measurement.created,
                    }
                    by_test.setdefault(key, {}).setdefault(name, speed)
    return _of_all(by_test, (test.prompt_tokens, test.depth, test.tokens), identities)


def known_throughputs(
    measurements: Iterable[Measurement], identities: Mapping[str, str]
) -> dict[tuple[int, int, int], dict[str, MeasurementJson]]:
    """Return the newest throughputs by engine, for each number of users, tokens of a prompt, and tokens of an answer."""
    found: dict[tuple[int, int, int], dict[str, MeasurementJson]] = {}
    for measurement in measurements:
        for name, item in _items(measurement, identities, measurement.data.get("engines")):
            for level in objects_at(item, "users"):
                match level:
                    case {"users": int(users), "prompt_tokens": int(prompt), "tokens": int(tokens)} if (
                        level.get("tokens_per_s")
                    ):
                        levels = found.setdefault((users, prompt, tokens), {})
                        levels.setdefault(name, {**level, "created": measurement.created})
    return found


class KnownFidelity(NamedTuple):
    """The comparisons of distributions and of greedy answers, by the names of the candidates.

    `data` is the newest measurement that used the same text as `candidates`; empty without such a measurement.
    """

    candidates: dict[str, MeasurementJson]
    answers: dict[str, MeasurementJson]
    data: MeasurementJson


def known_fidelity(
    measurements: Iterable[Measurement],
    identities: Mapping[str, str],
    reference: str,
    window: int,
    fewest_answers: int,
) -> KnownFidelity:
    """Return the newest fidelity of each candidate to the reference, all over one text in windows of one size.

    The text is paragone's sample text, or another text if only measurements with that text cover all candidates. Comparisons of
    fewer greedy answers than `fewest_answers` are left out.
    """
    by_text: dict[tuple[Json, ...], dict[str, MeasurementJson]] = {}
    newest: dict[tuple[Json, ...], MeasurementJson] = {}
    answers: dict[str, MeasurementJson] = {}
    for measurement in measurements:
        data = measurement.data
        if measurement.identities[:1] != (identities[reference],):
            continue
        text = (data.get("text"), data.get("window"))
        newest.setdefault(text, data)
        for name, item in _items(measurement, identities, data.get("candidates")):
            if name != reference and is_enough(item):
                found = {
                    **item,
                    "engine": name,
                    "partial": data.get("partial"),
                    "created": measurement.created,
                }
                by_text.setdefault(text, {}).setdefault(name, found)
        greedy = value_at(data, "free_running", "candidates")
        for name, item in _items(measurement, identities, greedy, "candidate"):
            prompts = item.get("prompts")
            if name != reference and isinstance(prompts, int) and prompts >= fewest_answers:
                found = {**item, "candidate": name, "reference": reference, "created": measurement.created}
                answers.setdefault(name, found)
    candidates = _of_all(by_text, (None, window), identities.keys() - {reference})
    over = [newest[text] for text, found in by_text.items() if found is candidates]
    return KnownFidelity(candidates, answers, over[0] if over else newest.get((None, window), {}))


def is_enough(fidelity: MeasurementJson) -> bool:
    """Return whether the fidelity of a candidate can be used: whether it has enough windows, or a reason why it has none."""
    windows = fidelity.get("windows")
    whole = isinstance(windows, int) and windows >= FEWEST_WINDOWS
    return whole or fidelity.get("reason") is not None


def known_errors(
    measurements: Iterable[Measurement], identities: Mapping[str, str], field: str
) -> dict[str, str]:
    """Return why the newest measurement of an engine has no result, by engine. `field` names the list of engines."""
    found: dict[str, str] = {}
    for measurement in measurements:
        for name, item in _items(measurement, identities, measurement.data.get(field)):
            why = [item.get(key) for key in ("error", "reason")]
            found.setdefault(name, next((text for text in why if isinstance(text, str)), ""))
    return {name: why for name, why in found.items() if why}


def _of_all(
    found: Mapping[tuple[Json, ...], dict[str, MeasurementJson]],
    wanted: tuple[Json, ...],
    names: Collection[str],
) -> dict[str, MeasurementJson]:
    """Return the figures for the settings `wanted`; for other settings if only these have figures of all engines."""
    choices = (found.get(wanted, {}), *found.values())
    return next((by_name for by_name in choices if len(by_name) == len(names)), choices[0])


def names_now(measurement: Measurement, identities: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for engine, identity in zip(measurement.engines, measurement.identities, strict=False):
        if same := [name for name, own in identities.items() if own == identity]:
            found[engine.name] = same
    return found


def _items(
    measurement: Measurement, identities: Mapping[str, str], found: Json, name_field: str = "engine"
) -> Iterator[tuple[str, MeasurementJson]]:
    items = by_engine(found, name_field)
    for old, names in names_now(measurement, identities).items():
        if old in items:
            yield from ((name, items[old]) for name in names)


def by_engine(items: Json, field: str) -> dict[str, MeasurementJson]:
    return {str(item[field]): item for item in objects_at(items) if field in item}
