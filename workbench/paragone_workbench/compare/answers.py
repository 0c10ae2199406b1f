"""The JSON output of `paragone ask`, `paragone compare` and `paragone suite run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from paragone import Caution, Image, Json, RunSettings
from paragone_workbench.compare.parity_findings import Parity
from paragone_workbench.runs.metrics import figures_json
from paragone_workbench.runs.result import RunResult


def comparison_json(
    prompt: str,
    images: Sequence[Image],
    runs: Sequence[RunResult],
    parity: Parity,
    *,
    divergence: Sequence[Json] | None = None,
) -> dict[str, Json]:
    """Return the answers of several engines to one prompt, their parity, and where the answers part. Unknown values are null.

    docs/command-line.schema.json has the schema.
    """
    comparison: dict[str, Json] = {
        "prompt": prompt,
        "images": [image.name for image in images],
        "lanes": [answer_json(run) for run in runs],
        "parity": [
            {
                "what": finding.what,
                "lanes": dict(finding.values),
                "sentence": f"{finding.sentence} {finding.advice}".rstrip(),
                "expected": finding.is_expected,
            }
            for finding in parity.findings
        ],
        "parity_unknown": {unknown.engine: list(unknown.names) for unknown in parity.unknown},
    }
    if divergence is not None:
        comparison["divergence"] = list(divergence)
    return comparison


def answer_json(run: RunResult, *, with_tokens: bool = True) -> dict[str, Json]:
    """Return the answer of one engine. `with_tokens` adds the tokens of the answer, if the run requested log-probabilities."""
    settings = run.settings or RunSettings()
    answer: dict[str, Json] = {
        "engine": run.definition.name,
        "backend": run.definition.backend,
        "model": run.definition.model,
        "text": run.text,
        "thinking": run.thinking,
        "finish": run.finish,
        "error": run.message if run.error else None,
        "warnings": [asdict(warning) for warning in warnings_of(run)],
        "seed": settings.seed,
        "sampling": None if settings.sampling is None else dict(settings.sampling),
        **figures_json(run.metrics),
    }
    if run.prefilled is not None:
        answer["prefilled"] = asdict(run.prefilled)
    if with_tokens and run.keeps_tokens:
        answer["tokens"] = [
            {
                "id": token.id,
                "text": token.text,
                "logprob": token.logprob,
                "top": [asdict(alternative) for alternative in token.top],
            }
            for token in run.tokens
        ]
    return answer


def warnings_of(run: RunResult) -> tuple[Caution, ...]:
    return (*(run.loaded.cautions if run.loaded is not None else ()), *run.cautions)
