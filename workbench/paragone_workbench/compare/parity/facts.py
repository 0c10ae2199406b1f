"""Compare the standard facts of the open models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from paragone.facts import STANDARD_FACTS, StandardFact
from paragone_workbench.compare.parity.findings import Finding, enumeration
from paragone_workbench.compare.parity.levelling import level
from paragone_workbench.compare.parity.side import Side, is_chosen

_TEMPLATE = "chat template"
_THREADS = "threads"
_OF_THE_MODEL = frozenset({"architecture", "parameters", "quantization"})
"""Facts that differ as expected if different models are compared."""


def compare_facts(
    sides: Sequence[Side], unknown: Mapping[str, list[str]], *, without_prompt: Collection[str]
) -> list[Finding]:
    """Return the facts that differ, and add to `unknown` the facts that a side does not report, by the side's name.

    `without_prompt` has the names of the sides whose prompts are unknown: only for these sides, the chat template matters.
    """
    findings: list[Finding] = []
    for fact in STANDARD_FACTS:
        values = {side.name: _value(side, fact) for side in sides}
        known = {value for value in values.values() if value is not None}
        silent = [name for name, value in values.items() if value is None]
        matters = True
        if fact.name == _TEMPLATE:
            matters = any(values[name] is not None for name in without_prompt)
            silent = [name for name in silent if name in without_prompt]
        if len(known) > 1 and matters:
            findings.append(_finding(sides, fact, values, silent))
        else:
            for name in silent:
                unknown[name].append(fact.name)
    return findings


def _value(side: Side, fact: StandardFact) -> str | None:
    threads = side.settings.threads if fact.name == _THREADS else None
    return side.fact(fact) if threads is None else str(threads)


def _finding(
    sides: Sequence[Side], fact: StandardFact, values: dict[str, str | None], silent: Sequence[str]
) -> Finding:
    options = {side.name: side.load_options().get(fact.name) for side in sides}
    levelling = level(sides, values, options, reloads=True)
    names = list(dict.fromkeys(info.name for info in options.values() if info is not None))
    if fact.name == _TEMPLATE:
        sentence = "The chat templates differ."
    else:
        named = f"{fact.name} ({names[0]})" if len(names) == 1 and names[0] != fact.name else fact.name
        sentence = f"{named}: {enumeration(values, silent=silent)}."
    return Finding(
        what=names[0] if len(names) == 1 else fact.name,
        values=values,
        sentence=f"{sentence[0].upper()}{sentence[1:]} {fact.effect}",
        levelling=levelling,
        is_expected=fact.name in _OF_THE_MODEL or is_chosen(sides, options),
    )
