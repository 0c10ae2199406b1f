"""Answers side by side, as programs read them: the JSON of `paragone compare --json`."""

from __future__ import annotations

import dataclasses

from paragone import Json
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.runs.record import Prompt

__all__ = ["comparison", "lane_answer"]


def comparison(prompt: Prompt, lanes: list[Lane]) -> dict[str, Json]:
    """Return what each lane made of a prompt. The shape is documented and stable; what is unknown is null."""
    images = [image.name for image in prompt.images]
    return {"prompt": prompt.text, "images": images, "lanes": [lane_answer(prompt, lane) for lane in lanes]}


def lane_answer(prompt: Prompt, lane: Lane) -> dict[str, Json]:
    """Return what one lane made of a prompt."""
    run = lane.runs.get(prompt)
    error = run.error if run is not None else lane.error
    metrics = run.metrics if run is not None else None
    return {
        "engine": lane.definition.name,
        "backend": lane.definition.backend,
        "model": lane.definition.model,
        "text": run.text if run is not None else "",
        "thinking": run.thinking if run is not None else "",
        "finish": run.finish if run is not None else None,
        "error": str(error) if error is not None else None,
        "warnings": [
            {"code": caution.code, "sentence": caution.sentence}
            for caution in (*(lane.loaded.cautions if lane.loaded else ()), *(run.cautions if run else ()))
        ],
        "usage": {
            "prompt_tokens": metrics.prompt_tokens if metrics else None,
            "cached_tokens": metrics.cached_tokens if metrics else None,
            "completion_tokens": metrics.completion_tokens if metrics else None,
        },
        "timings": {
            "load_s": metrics.load_s if metrics else lane.load_s,
            "ttft_s": metrics.ttft_s if metrics else None,
            "prefill_tps": metrics.prefill_tps if metrics else None,
            "decode_tps": metrics.decode_tps if metrics else None,
            "itl_ms": dataclasses.asdict(metrics.itl_ms)
            if metrics
            else {"p50": None, "p95": None, "p99": None},
        },
    }
