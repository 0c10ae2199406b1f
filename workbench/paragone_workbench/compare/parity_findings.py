"""An engine in a parity check, the findings with their messages, and the options that give all engines the same value."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from paragone import Backend, Capabilities, InputError, Json, LoadedModel, Message, RunSettings
from paragone.facts import BUILD_FACTS, PROGRAM, ROUNDING, STANDARD_FACTS, StandardFact
from paragone.options import OptionInfo, Options, build, describe, parse, value_text
from paragone.texts import counted, shortened
from paragone_workbench.blocks import Remark, Section, public
from paragone_workbench.engines.definitions import BackendLookup, EngineDefinition
from paragone_workbench.runs.context import request_of
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run

_LONGEST_QUOTE = 120
_LONGEST_VALUE = 60
_MOST_NAMES = 3
"""Largest number of unknown conditions that the verdict names; it only counts the rest."""


class OptionChange(NamedTuple):
    """An option that gives an engine the value of the others. `everywhere`: all engines have an option of this name."""

    engine: str
    option: str
    value: Json
    reloads: bool = False
    everywhere: bool = False

    @property
    def assignment(self) -> str:
        return f"{self.option}={value_text(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A condition that differs, or, if it has `names`, the conditions that an engine does not report.

    Attributes:
        what: The name of the option that sets the condition; without such an option, the name of the condition.
        values: The value of each engine by its name; None where the engine does not report it.
        changes: Options that make the condition equal, or that give the engine the values of the other engines.
        system: The system prompt that a chat template added in one engine. Giving it to all engines makes the prompts
            equal.
        is_expected: Whether the difference needs no warning: it is the subject of the comparison (models, programs,
            builds), or earlier answers, a cache or a random seed have caused it.
    """

    what: str
    values: Mapping[str, Json] = field(default_factory=dict)
    sentence: str
    changes: tuple[OptionChange, ...] = ()
    system: str = ""
    is_expected: bool = False
    names: tuple[str, ...] = ()

    @property
    def sign(self) -> str:
        return "?" if self.names else "·" if self.is_expected else "≠"

    @property
    def is_alarm(self) -> bool:
        return self.sign == "≠"

    @property
    def advice(self) -> str:
        """Which option of the command line makes the setting equal for all engines; empty if no option can."""
        if self.system:
            return (
                f"To level it, give all engines the same system prompt: --system {shlex.quote(self.system)}"
            )
        texts = (it.assignment if it.everywhere else f"{it.engine}.{it.assignment}" for it in self.changes)
        arguments = " ".join(f"--set {shlex.quote(text)}" for text in dict.fromkeys(texts))
        return f"To {'set' if self.names else 'level'} it: {arguments}" if arguments else ""

    @property
    def text(self) -> str:
        return f"{self.sentence} {self.advice}".rstrip()

    @property
    def reloads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(change.engine for change in self.changes if change.reloads))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The conditions that differ, and the `unknown` conditions by the engine's name."""

    findings: tuple[Finding, ...] = ()
    unknown: tuple[Finding, ...] = ()

    @property
    def alarms(self) -> int:
        return sum(finding.is_alarm for finding in self.findings)

    @property
    def remark(self) -> str:
        unreported = {name for unknown in self.unknown for name in unknown.names}
        facts = (PROGRAM, *BUILD_FACTS, *STANDARD_FACTS)
        rounding = [fact.name for fact in facts if fact.effect == ROUNDING and fact.name in unreported]
        if not rounding:
            return ""
        return (
            f"Rounding depends on {joined(rounding)}: a difference can change answers after some "
            "tokens, even at temperature 0."
        )

    @property
    def verdict(self) -> str:
        if self.alarms:
            return f"Asked differently: {counted(self.alarms, 'condition differs', 'conditions differ')}."
        expected = " These differences are expected:" if self.findings else ""
        if self.unknown:
            names = list(dict.fromkeys(name for unknown in self.unknown for name in unknown.names))
            known = joined(names) if len(names) <= _MOST_NAMES else counted(len(names), "condition")
            return f"Asked alike as far as is known; not known: {known}.{expected}"
        if self.findings:
            return f"Asked alike.{expected}"
        return "The comparison is fair: the conditions are the same."

    def section(self) -> Section:
        found = (*self.findings, *self.unknown)
        remarks = [Remark(public(it.text), stands_out=it.is_alarm) for it in found]
        remarks += [Remark(self.remark)] if self.remark else []
        return Section(title="Was it fair?", about=f"{self.verdict.rstrip('.:')}.", remarks=tuple(remarks))


def joined(names: Iterable[str]) -> str:
    """Return names as an enumeration: `a, b and c`."""
    names = list(names)
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def quoted(text: str) -> str:
    if len(text) > _LONGEST_QUOTE:
        half = _LONGEST_QUOTE // 2
        text = f"{text[:half]} … {text[-half:]}"
    return json.dumps(text, ensure_ascii=False)


def enumeration(values: Mapping[str, Json | None], *, silent: Sequence[str] = ()) -> str:
    """Return which engines have which value: `1.1 in a and 1 in b and c; d does not report it`."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        if value is not None:
            shown = shortened(value_text(value) or "none", _LONGEST_VALUE)
            groups.setdefault(shown, []).append(name)
    text = joined(f"{value} in {joined(names)}" for value, names in groups.items())
    if silent:
        text += f"; {joined(silent)} {'does' if len(silent) == 1 else 'do'} not report it"
    return text


_SEED = "seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """An engine, with its model and its run if these are known. Lanes with the same engine have different names."""

    name: str
    definition: EngineDefinition
    backend: Backend | None
    loaded: LoadedModel | None
    run: RunResult | None = None
    messages: tuple[Message, ...] = ()
    """The messages of the request; the last may be the beginning of the answer. Empty if unknown."""

    @property
    def settings(self) -> RunSettings:
        return (self.run.settings if self.run is not None else None) or RunSettings()

    @property
    def metrics(self) -> RunMetrics:
        return (self.run.metrics if self.run is not None else None) or RunMetrics()

    @property
    def prompt_tokens(self) -> int | None:
        ids = self.settings.prompt_ids
        return self.metrics.prompt_tokens if ids is None else len(ids)

    @property
    def capabilities(self) -> Capabilities:
        if self.loaded is not None and self.loaded.capabilities is not None:
            return self.loaded.capabilities
        return self.backend.capabilities if self.backend is not None else Capabilities()

    def fact(self, fact: StandardFact) -> str | None:
        if self.loaded is None:
            return None
        value: object = getattr(self.loaded, fact.name) if fact.field else self.loaded.facts.get(fact.name)
        return None if value is None else str(value).strip()

    def sampling(self) -> Mapping[str, Json]:
        """Return the active options by standard names, None for unset. Before a run, these are the defaults and the
        definition's options."""
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
        """Whether the engine chose an option's value for this run only, as engines choose a seed if none is set."""
        if option is None or self.run is None or (option.fact or option.name) != _SEED:
            return False
        asked = self.run.request.get("sampling")
        return option.name not in self.definition.options and not (
            isinstance(asked, Mapping) and option.name in asked
        )

    def sampling_options(self) -> Mapping[str, OptionInfo]:
        return {} if self.backend is None else _by_fact(self.backend.sampling)

    def load_options(self) -> Mapping[str, OptionInfo]:
        return {} if self.backend is None else _by_fact(self.backend.load_options)


def _by_fact(kind: type[Options]) -> Mapping[str, OptionInfo]:
    """Return options by the names of the standard facts that they set, else by their own names."""
    return {info.fact or info.name: info for info in describe(kind) if not info.secret}


def sides_of(runs: Iterable[tuple[str, Run]], find: BackendLookup) -> list[Side]:
    """Return a side for each run that has begun, by its name in the comparison."""
    return [
        Side(
            name=name,
            definition=run.result.definition,
            backend=find(run.result.definition.backend),
            loaded=run.result.loaded,
            run=run.result,
            messages=request_of(run) or (() if run.spec is None else tuple(run.spec.messages)),
        )
        for name, run in runs
        if run.result.loaded is not None and run.settings is not None
    ]


def same(first: Json, second: Json) -> bool:
    """Whether two values are equal. Numbers may differ by the rounding of single precision."""
    match first, second:
        case bool() | str(), _:
            return first == second
        case float() | int(), float() | int() if not isinstance(second, bool):
            return abs(first - second) <= 1e-6 * max(1, abs(first))
        case _:
            return first == second


def level(
    sides: Sequence[Side],
    values: Mapping[str, Json | None],
    options: Mapping[str, OptionInfo | None],
    *,
    reloads: bool,
) -> tuple[OptionChange, ...]:
    """Return the options that give all sides one value. `values` and `options` are by side; None if unknown or missing.

    All sides get the value of a side that cannot change it, else the most frequent value. A side with a random value,
    such as a seed, would draw another one in the next run, so the option is set for this side too.
    """
    able = [side for side in sides if options.get(side.name) is not None]
    drawn = {side.name for side in able if side.has_drawn(options[side.name])} if len(able) > 1 else set()
    chosen = {name: value for name, value in values.items() if name not in drawn}
    target = _target(chosen, options)
    if target is None:
        target = _target(values, options)
    if target is None:
        return ()
    names = {info.name if info is not None else None for info in (options.get(side.name) for side in sides)}
    everywhere = len(names) == 1 and None not in names
    changes: list[OptionChange] = []
    for side in sides:
        info, value = options.get(side.name), values.get(side.name)
        if (
            info is None
            or side.backend is None
            or (value is not None and same(value, target) and side.name not in drawn)
        ):
            continue
        kind = side.backend.load_options if reloads else side.backend.sampling
        wanted = _accepted(kind, info, target)
        if wanted is not None:
            changes.append(OptionChange(side.name, info.name, wanted, reloads, everywhere))
    return tuple(changes)


def _target(values: Mapping[str, Json | None], options: Mapping[str, OptionInfo | None]) -> Json | None:
    known = [(name, value) for name, value in values.items() if value is not None]
    fixed = [value for name, value in known if options.get(name) is None]
    if fixed:
        return fixed[0] if all(same(fixed[0], value) for value in fixed) else None
    counts = [(sum(same(value, other) for _, other in known), value) for _, value in known]
    return max(counts, key=lambda entry: entry[0])[1] if counts else None


def _accepted(kind: type[Options], info: OptionInfo, value: Json) -> Json | None:
    try:
        wanted = parse(kind, info.name, value) if isinstance(value, str) and not info.many else value
        build(kind, {info.name: wanted})
    except InputError:
        return None
    return wanted
