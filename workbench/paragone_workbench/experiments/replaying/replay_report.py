"""The results of a replay, as JSON and as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paragone import Json
from paragone.wire import to_json
from paragone.wording import counted
from paragone_workbench.experiments.replaying.changes import WeightsVerdict
from paragone_workbench.experiments.replaying.replay import EngineReport, ReplayedRun


def replay_json(
    target: str,
    runs: Sequence[ReplayedRun],
    skipped: Mapping[str, str],
    reports: Sequence[EngineReport],
    *,
    left: int = 0,
) -> dict[str, Json]:
    """Return the result of a replay; `left` runs were not repeated. docs/command-line.schema.json has the schema."""
    return {
        "replay": target,
        "same": sum(run.same for run in runs),
        "total": len(runs),
        "left": left,
        "verdict": replay_verdict(runs, reports, left=left),
        "runs": [
            {
                "id": run.id,
                "engine": run.engine,
                "same": run.same,
                "error": None if run.error is None else str(run.error),
                "difference": None if run.difference is None else to_json(run.difference, complete=True),
            }
            for run in runs
        ],
        "skipped": [{"id": number, "reason": reason} for number, reason in skipped.items()],
        "engines": [
            {
                "engine": report.engine,
                "model": report.model,
                "weights": to_json(report.weights, complete=True),
                "changes": [to_json(change, complete=True) for change in report.changes],
            }
            for report in reports
        ],
    }


def replay_verdict(runs: Sequence[ReplayedRun], reports: Sequence[EngineReport], *, left: int = 0) -> str:
    """Return sentences that say how many answers are the same, and what may have changed the other answers.

    `left` is the number of runs that were not repeated, since the replay was stopped.
    """
    same, total = sum(run.same for run in runs), len(runs)
    failed = sum(run.error is not None for run in runs)
    differing = {run.engine for run in runs if run.difference is not None}
    sentences = [
        _stopped(total, left, same=same, different=total - same - failed)
        if left
        else "The answer is the same."
        if same == total == 1
        else "The answer differs."
        if total == 1 and differing
        else f"{same:,} of {total:,} answers are the same."
    ]
    if failed:
        sentences.append(f"{counted(failed, 'run')} failed.")
    for report in reports:
        if report.engine in differing:
            sentences += _causes(report)
    return " ".join(sentences)


def weights_sentence(verdict: WeightsVerdict) -> str:
    """Return whether the weights are the same, and how that is known."""
    match verdict.same, verdict.by:
        case True, "sha256":
            return "the same (by SHA-256)"
        case True, _:
            return "the same file, by its size and time of modification; no SHA-256 was recorded"
        case False, _:
            return "different"
        case None, "size":
            return "of the same size; whether they are the same is not known: there is no SHA-256 of both"
    return "not known: the engine or the recorded run does not name them"


def _stopped(total: int, left: int, *, same: int, different: int) -> str:
    """Return how many runs were repeated until the replay was stopped."""
    repeated = f"Stopped: {total:,} of {total + left:,} runs were repeated, {left:,} not."
    if not total:
        return repeated
    return f"{repeated} {counted(same, 'answer is', 'answers are')} the same, {different:,} different."


def _causes(report: EngineReport) -> list[str]:
    """Return sentences on what may have changed the answers of an engine."""
    sentences: list[str] = []
    if report.reused_cache:
        sentences.append(
            f"{report.engine}: {counted(report.reused_cache, 'recorded run')} had reused the KV cache. That cannot be repeated "
            "exactly: the repetition is cold, and rounds differently."
        )
    changed = [
        what
        for what in dict.fromkeys(change.what for change in report.changes if change.may_change_answers)
        if what != "KV cache"
    ]
    if changed:
        sentences.append(f"{report.engine}: these changes may be the reason ({', '.join(changed)}).")
    if report.unknown_seeds:
        sentences.append(
            f"{report.engine}: the seed of {report.unknown_seeds:,} recorded runs is not known, so chance differs."
        )
    if sentences:
        return sentences
    if not report.promises:
        return [
            f"{report.engine}: nothing that is known has changed; its server does not promise the same answer "
            "for the same seed."
        ]
    return [f"{report.engine}: nothing that is known has changed, so the engine does not reproduce itself."]
