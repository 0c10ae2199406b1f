"""The parity of answers as a part of a report."""

from __future__ import annotations

from collections.abc import Sequence

from paragone_workbench.compare.parity.check import check_parity
from paragone_workbench.compare.parity.side import Side
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.reporting.content import Conditions, Remark
from paragone_workbench.reporting.parts.answers import NamedRun
from paragone_workbench.reporting.public_text import public


def conditions_of(answers: Sequence[NamedRun], find: BackendLookup) -> Conditions | None:
    """Return whether the engines answered a prompt under the same conditions; None for fewer than two answers.

    `find` returns the backend with a given name. Runs that did not begin are left out.
    """
    sides = [
        Side.of_run(run, find(run.definition.backend), name=name)
        for name, run in answers
        if run.loaded is not None and run.settings is not None
    ]
    if len(sides) < 2:
        return None
    parity = check_parity(sides)
    remarks = [
        Remark(
            text=public(f"{finding.sentence} {finding.advice}".rstrip()), stands_out=not finding.is_expected
        )
        for finding in parity.findings
    ]
    remarks += [
        Remark(text=public(f"{unknown.sentence} {unknown.advice}".rstrip())) for unknown in parity.unknown
    ]
    if parity.remark:
        remarks.append(Remark(text=parity.remark))
    return Conditions(verdict=f"{parity.verdict.rstrip('.:')}.", remarks=tuple(remarks))
