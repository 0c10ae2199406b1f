"""Compares all conditions of a parity check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paragone_workbench.compare.parity.builds import compare_builds, compare_launches
from paragone_workbench.compare.parity.facts import compare_facts
from paragone_workbench.compare.parity.findings import (
    Finding,
    Levelling,
    Parity,
    Unknown,
    enumeration,
    joined,
)
from paragone_workbench.compare.parity.prompts import PROMPT, compare_prompts
from paragone_workbench.compare.parity.sampling import compare_sampling
from paragone_workbench.compare.parity.side import Side
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.runs.run import Run

_CHANGED = {
    "truncated": "cut its prompt",
    "context-shifted": "dropped the beginning of the conversation during its answer",
    "turns-dropped": "left out the oldest messages",
    "images-left-out": "did not see all images",
    "option-refused": "refused an option",
    "may-not-continue": "may have begun a new answer instead of continuing the last one",
    "schema-ignored": "ignored the JSON schema",
    "filtered": "filtered its answer",
}
"""The codes of warnings that an answer was not computed as requested, and what the engine did. docs/plugins.md lists the codes."""

_CHANGES = "may-change-requests"
"""The code of the warning that an engine's server can change requests without notice."""


def parity_of_runs(runs: Sequence[Run], find: BackendLookup) -> Parity:
    """Check the parity of runs that answered one prompt. Runs that did not begin are left out.

    `find` returns the backend of a name.
    """
    return check_parity(
        [
            Side.of_run(
                run.result,
                find(run.result.definition.backend),
                messages=None if run.spec is None else run.spec.messages,
            )
            for run in runs
            if run.result.loaded is not None and run.settings is not None
        ]
    )


def check_parity(sides: Sequence[Side]) -> Parity:
    """Compare the conditions of all sides: prompts, sampling, warnings, models, builds, and the use of the machine."""
    if len(sides) < 2:
        return Parity()
    unknown: dict[str, list[str]] = {side.name: [] for side in sides}
    prompts = compare_prompts(sides, unknown)
    without_prompt = [name for name, names in unknown.items() if PROMPT in names]
    sampling, levellings = compare_sampling(sides, unknown)
    findings = [
        *prompts,
        *sampling,
        *_seeds(sides),
        *_changed(sides),
        *compare_facts(sides, unknown, without_prompt=without_prompt),
        *compare_builds(sides, unknown),
        *compare_launches(sides),
        *_cached(sides),
    ]
    for side in sides:
        if side.loaded is not None and any(caution.code == _CHANGES for caution in side.loaded.cautions):
            unknown[side.name].append("changes to requests")
        if side.run is not None and side.metrics.cached_tokens is None:
            unknown[side.name].append("cached tokens")
    return Parity(
        findings=tuple(sorted(findings, key=lambda finding: finding.is_expected)),
        unknown=tuple(
            Unknown(engine=name, names=tuple(names), levelling=_together(levellings.get(name, ())))
            for name, names in unknown.items()
            if names
        ),
    )


def _together(levellings: Sequence[Levelling]) -> Levelling:
    changes = tuple(change for levelling in levellings for change in levelling.changes)
    return Levelling(changes=changes, everywhere=all(levelling.everywhere for levelling in levellings))


def _seeds(sides: Sequence[Side]) -> Iterator[Finding]:
    """Yield a finding if random choices can be repeated in some engines only."""
    random = any(side.sampling().get("temperature") != 0 for side in sides)
    able = {side.name: side.capabilities.seed for side in sides}
    if random and len(set(able.values())) > 1:
        without = joined(name for name, seed in able.items() if not seed)
        sentence = f"A seed has no certain effect in {without}, whose random choices cannot be repeated."
        yield Finding(what="seed support", values=able, sentence=sentence)


def _changed(sides: Sequence[Side]) -> Iterator[Finding]:
    """Yield a finding for each warning that only some of the answers have."""
    codes = {
        side.name: {caution.code for caution in side.run.cautions} if side.run is not None else set()
        for side in sides
    }
    for code, did in _CHANGED.items():
        values = {name: code in own for name, own in codes.items()}
        if len(set(values.values())) > 1:
            who = joined(name for name, has in values.items() if has)
            yield Finding(what=code, values=values, sentence=f"{who} {did}; the others did not.")


def _cached(sides: Sequence[Side]) -> Iterator[Finding]:
    """Yield a finding if engines took different numbers of prompt tokens from the KV cache."""
    values = {side.name: side.metrics.cached_tokens for side in sides}
    known = {value for value in values.values() if value is not None}
    if len(known) > 1:
        silent = [name for name, value in values.items() if value is None]
        sentence = (
            f"Prompt tokens taken from the KV cache: {enumeration(values, silent=silent)}. "
            "Times to first token are not comparable, and rounding can differ."
        )
        yield Finding(what="cached tokens", values=values, sentence=sentence, is_expected=True)
