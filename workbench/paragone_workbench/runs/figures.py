"""The figures of a run as commands print them with `--json`."""

from __future__ import annotations

import dataclasses

from paragone import Json
from paragone_workbench.runs.metrics import RunMetrics

__all__ = ["figures_json"]


def figures_json(known: RunMetrics | None) -> dict[str, Json]:
    """Return the token counts and the times of a run, under `usage` and `timings`."""
    metrics = known or RunMetrics()
    return {
        "usage": {
            "prompt_tokens": metrics.prompt_tokens,
            "cached_tokens": metrics.cached_tokens,
            "completion_tokens": metrics.completion_tokens if known is not None else None,
            "pieces": metrics.pieces,
            "drafted_tokens": metrics.drafted_tokens,
            "accepted_tokens": metrics.accepted_tokens,
        },
        "timings": {
            "load_s": metrics.load_s,
            "ttft_s": metrics.ttft_s,
            "ttfo_s": metrics.ttfo_s,
            "tpot_ms": metrics.tpot_ms,
            "prefill_tps": metrics.prefill_tps,
            "decode_tps": metrics.decode_tps,
            "itl_ms": dataclasses.asdict(metrics.itl_ms),
            "shared": metrics.shared,
        },
    }
