"""Finds earlier measurements of given engines in the history, for decisions and reports. A measurement belongs to an
engine if both have the same `measured_identity`, which includes the model's file. Measurements by older versions of
paragone have no identities and are skipped."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias, get_args

from paragone import Json
from paragone.json_values import objects_at, text_at
from paragone_workbench.measure.bench import BenchTest
from paragone_workbench.measure.distances import FEWEST_WINDOWS
from paragone_workbench.measure.fidelity import WINDOW
from paragone_workbench.store import Store
from paragone_workbench.store.votes import Measurement, MeasurementKind

MeasurementJson: TypeAlias = Mapping[str, Json]
"""The figures of an engine, as `bench` or `fidelity` prints them with --json. This module's functions add `created`, the
time of the measurement in seconds since 1970."""

TEST = BenchTest(prompt_tokens=256, depth=0, tokens=64)
"""The test by which speeds are compared."""

USERS_TESTS = tuple(BenchTest(prompt_tokens=128, tokens=32, users=users) for users in (1, 4, 16))
"""The tests with concurrent users. The throughput of the last test is compared."""

FEWEST_ANSWERS = 10
"""Fewest greedy answers for a comparison, unless there are fewer prompts."""

SavedMeasurements: TypeAlias = Mapping[MeasurementKind, Sequence[Measurement]]


def saved_measurements(store: Store, *, since: float = 0.0) -> SavedMeasurements:
    """Return the measurements after a moment, in seconds since 1970, newest first. Raises StoreError."""
    return {
        kind: [found for found in store.measurements.all(kind) if found.created >= since]
        for kind in get_args(MeasurementKind)
    }


class Known(NamedTuple):
    """The measurements of engines in the history, by the engines' names. `fidelity` and `answers` compare candidates
    with the reference, by distributions and by greedy answers. `throughputs` are for `users` concurrent users.
    `no_speed` and `no_fidelity` have the reason why the newest measurement has no result."""

    speeds: Mapping[str, MeasurementJson] = {}
    users: int = 0
    throughputs: Mapping[str, MeasurementJson] = {}
    fidelity: Mapping[str, MeasurementJson] = {}
    answers: Mapping[str, MeasurementJson] = {}
    no_speed: Mapping[str, str] = {}
    no_fidelity: Mapping[str, str] = {}


def known_of(
    saved: SavedMeasurements, identities: Mapping[str, str], reference: str, prompts: int, suite: str = ""
) -> Known:
    """Return the known measurements of the engines in `identities`. `prompts` is the number of prompts for greedy answers.
    With the name of a `suite`, the fidelity is measured over the suite's prompts."""
    benches, fidelities = saved["bench"], saved["fidelity"]
    against = [found for found in fidelities if found.identities[:1] == (identities[reference],)]
    return Known(
        known_speeds(benches, identities),
        *_throughputs(benches, identities),
        *known_fidelity(fidelities, identities, reference, min(FEWEST_ANSWERS, prompts), suite),
        _errors(benches, identities, "engines"),
        _errors(against, identities, "candidates"),
    )


def known_speeds(
    measurements: Iterable[Measurement], identities: Mapping[str, str]
) -> dict[str, MeasurementJson]:
    """Return the newest speeds by engine, all from one test: `TEST`, or another test if only the other test covers all
    engines. `measurements` are in order, newest first. `identities` has the identity of each engine by the engine's
    name."""
    by_test: dict[tuple[Json, ...], dict[str, MeasurementJson]] = {}
    for measurement, name, item in _items(measurements, identities, "engines"):
        for found in objects_at(item, "tests"):
            if found.get("repetitions"):
                test = tuple(found.get(field) for field in ("prompt_tokens", "depth", "tokens"))
                speed = {**found, "created": measurement.created, "load": measurement.data.get("load")}
                by_test.setdefault(test, {}).setdefault(name, speed)
    return _of_all(by_test, (TEST.prompt_tokens, TEST.depth, TEST.tokens), identities)


def _throughputs(
    measurements: Iterable[Measurement], identities: Mapping[str, str]
) -> tuple[int, Mapping[str, MeasurementJson]]:
    """Return a number of concurrent users, and the newest throughputs for it; 0 if none are known. The number is the
    one that `choose` measures, if known for an engine; else the largest that is known for all engines."""
    known: dict[tuple[int, int, int], dict[str, MeasurementJson]] = {}
    for measurement, name, item in _items(measurements, identities, "engines"):
        for level in objects_at(item, "users"):
            match level:
                case {"users": int(users), "prompt_tokens": int(prompt), "tokens": int(tokens)} if level.get(
                    "tokens_per_s"
                ):
                    levels = known.setdefault((users, prompt, tokens), {})
                    levels.setdefault(name, {**level, "created": measurement.created})
    most = USERS_TESTS[-1]
    wanted = (most.users, most.prompt_tokens, most.tokens)
    if wanted not in known:
        whole = (level for level, found in known.items() if len(found) == len(identities))
        wanted = max(whole, key=lambda level: level[0], default=(0, 0, 0))
    return wanted[0], known.get(wanted, {})


def known_fidelity(
    measurements: Sequence[Measurement],
    identities: Mapping[str, str],
    reference: str,
    fewest_answers: int,
    suite: str = "",
) -> tuple[dict[str, MeasurementJson], dict[str, MeasurementJson]]:
    """Return the newest fidelity of each candidate to the reference, and the newest comparison of their greedy answers.
    All fidelities are over the reference's answers to the prompts of `suite`; without a suite, over one text in windows
    of one size: paragone's sample text, or another text or suite if only measurements with that cover all candidates.
    Comparisons with fewer greedy answers than `fewest_answers` are skipped."""
    against = [found for found in measurements if found.identities[:1] == (identities[reference],)]
    candidates = {name: identity for name, identity in identities.items() if name != reference}
    by_text: dict[tuple[Json, ...], dict[str, MeasurementJson]] = {}
    for measurement, name, item in _items(against, candidates, "candidates"):
        windows, data = item.get("windows"), measurement.data
        # the user may have chosen fewer windows
        if (isinstance(windows, int) and windows >= FEWEST_WINDOWS) or item.get("reason") is not None:
            about = {key: data.get(key) for key in ("partial", "suite", "tokens_scored")}
            found = {**item, **about, "engine": name, "created": measurement.created}
            key = (
                data.get("text"),
                text_at(data, "suite", "name"),
                text_at(data, "suite", "answers"),
                data.get("window"),
            )
            by_text.setdefault(key, {}).setdefault(name, found)
    if suite:
        fidelity = by_text.get((None, suite, "greedy", 0), {})
    else:
        fidelity = _of_all(by_text, (None, "", "", WINDOW), candidates)
    answers: dict[str, MeasurementJson] = {}
    greedy = _items(against, candidates, "free_running", "candidates", name_field="candidate")
    for measurement, name, item in greedy:
        prompts = item.get("prompts")
        if isinstance(prompts, int) and prompts >= fewest_answers:
            about = {"candidate": name, "reference": reference, "created": measurement.created}
            answers.setdefault(name, {**item, **about})
    return fidelity, answers


def _errors(measurements: Iterable[Measurement], identities: Mapping[str, str], field: str) -> dict[str, str]:
    """Return why the newest measurement of an engine has no result, by engine. `field` names the list of engines."""
    found: dict[str, str] = {}
    for _, name, item in _items(measurements, identities, field):
        found.setdefault(name, text_at(item, "error") or text_at(item, "reason"))
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
    measurements: Iterable[Measurement], identities: Mapping[str, str], *path: str, name_field: str = "engine"
) -> Iterator[tuple[Measurement, str, MeasurementJson]]:
    """Yield each item in the list at `path` of each measurement, once for each current name of the item's engine."""
    for measurement in measurements:
        items = {str(item.get(name_field)): item for item in objects_at(measurement.data, *path)}
        for old, names in names_now(measurement, identities).items():
            for name in names if old in items else ():
                yield measurement, name, items[old]
