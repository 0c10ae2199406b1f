"""The agreement of several engines with a reference, and the faults of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paragone import Json
from paragone.wire import to_json
from paragone_workbench.compare.agreement.agreement import Agreement, Conduct, agreement, conduct
from paragone_workbench.compare.agreement.verdict import prompts_needed, verdict
from paragone_workbench.runs.result import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSummary:
    """The agreement of candidates with a reference, and the faults of their answers.

    Attributes:
        conducts: The lengths and faults of each engine's answers, the reference's first.
        agreements: The agreement of each candidate with the reference.
    """

    conducts: tuple[Conduct, ...]
    agreements: tuple[Agreement, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the fields, with a sentence for each candidate."""
        return {
            "engines": [to_json(found, complete=True) for found in self.conducts],
            "candidates": [
                {**found.to_json(), "prompts_needed": prompts_needed(found), "sentence": verdict(found)}
                for found in self.agreements
            ],
        }


def summarize(answers: Sequence[tuple[str, Mapping[int, RunResult]]]) -> AnswerSummary:
    """Summarize greedy answers. For each engine, `answers` has the name, and the answers by the number of the prompt.

    The first engine is the reference. Greedy answers of a suite can be summarized, too.
    """
    (reference, first), *others = answers
    return AnswerSummary(
        conducts=tuple(conduct(name, found.values()) for name, found in answers),
        agreements=tuple(
            agreement(
                reference,
                name,
                [(first[number], found[number]) for number in sorted(first.keys() & found.keys())],
            )
            for name, found in others
        ),
    )
