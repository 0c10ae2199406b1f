"""Compare the engines' programs, the builds of these programs, and the settings with which servers were started."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from paragone.facts import BUILD_FACTS, LAUNCH, ORIGIN, PROGRAM
from paragone_workbench.compare.parity.findings import Finding, enumeration, joined
from paragone_workbench.compare.parity.side import Side

_VERSION, _COMMIT, _, _INSTRUCTIONS = (fact.name for fact in BUILD_FACTS)

_DRIFTS = "so answers can differ after some tokens, also at temperature 0"


def compare_builds(sides: Sequence[Side], unknown: Mapping[str, list[str]]) -> list[Finding]:
    """Return the programs and builds that differ, and add to `unknown` the properties that a side does not report.

    Builds of different programs are not comparable. Engines with the same installation, their origin, have the same build.
    """
    programs = {side.name: side.fact(PROGRAM) for side in sides}
    silent = [name for name, program in programs.items() if program is None]
    for name in silent:
        unknown[name].append(PROGRAM.name)
    findings = []
    known = dict.fromkeys(program for program in programs.values() if program is not None)
    if len(known) > 1:
        sentence = (
            f"The programs that compute differ: {enumeration(programs, silent=silent)}. "
            f"Different programs round differently, {_DRIFTS}. No option removes this difference."
        )
        findings.append(Finding(what=PROGRAM.name, values=programs, sentence=sentence))
    for program in known:
        same = [side for side in sides if programs[side.name] == program]
        if len({side.fact(ORIGIN) or side.name for side in same}) > 1:
            findings += _compare(program, same, unknown)
    return findings


def compare_launches(sides: Sequence[Side]) -> list[Finding]:
    """Return a finding if servers that report their launch arguments were started with different arguments."""
    reported = {side.name: text for side in sides if (text := side.fact(LAUNCH)) is not None}
    differences = _differences({name: re.split(r" (?=--?[a-z])", text) for name, text in reported.items()})
    if not differences:
        return []
    sentence = f"The servers were started with different arguments: {differences}. {LAUNCH.effect}"
    return [Finding(what=LAUNCH.name, values=reported, sentence=sentence)]


def _compare(program: str, sides: Sequence[Side], unknown: Mapping[str, list[str]]) -> list[Finding]:
    """Compare builds of one program. If all commits are known, no version counts as unknown: a commit determines the version."""
    reported = {fact.name: {side.name: side.fact(fact) for side in sides} for fact in BUILD_FACTS}
    differences: dict[str, str] = {}
    for name, values in reported.items():
        silent = [side for side, value in values.items() if value is None]
        known = {side: value for side, value in values.items() if value is not None}
        if len(set(known.values())) > 1:
            if name == _INSTRUCTIONS:
                differences[name] = _differences({side: value.split(", ") for side, value in known.items()})
                for side in silent:
                    unknown[side].append(name)
            else:
                differences[name] = f"{name} {enumeration(values, silent=silent)}"
        elif name != _VERSION or None in reported[_COMMIT].values():
            for side in silent:
                unknown[side].append(name)
    if not differences:
        return []
    affected = "Rounding and defaults" if differences.keys() & {_VERSION, _COMMIT} else "Rounding"
    sentence = (
        f"The builds of {program} differ: {'; '.join(differences.values())}. {affected} can differ, {_DRIFTS}. "
        "No option removes this difference: use one build for all."
    )
    values = {
        side.name: ", ".join(text for fact in reported.values() if (text := fact[side.name])) or None
        for side in sides
    }
    return [Finding(what="build", values=values, sentence=sentence)]


def _differences(lists: Mapping[str, Sequence[str]]) -> str:
    """Return which members only some of the lists have: `AVX512 and FMA only in a`. Empty if there are none."""
    holders = {
        member: tuple(name for name, own in lists.items() if member in own)
        for members in lists.values()
        for member in members
    }
    groups: dict[tuple[str, ...], list[str]] = {}
    for member, names in holders.items():
        if len(names) < len(lists):
            groups.setdefault(names, []).append(member)
    return "; ".join(f"{joined(members)} only in {joined(names)}" for names, members in groups.items())
