"""The metrics of a run as text."""

from __future__ import annotations

from paragone_workbench.runs.metrics import RunMetrics

__all__ = ["metrics_text"]


def metrics_text(metrics: RunMetrics) -> str:
    """Return the metrics of a run in one line, without those that are unknown."""
    parts = [f"{metrics.completion_tokens} tokens"]
    if metrics.decode_tps is not None:
        shared = " (shared)" if metrics.shared else ""
        parts.append(f"{metrics.decode_tps:.1f} tokens/s{shared}")
    if metrics.tokens_per_step is not None and metrics.acceptance is not None:
        parts.append(
            f"{metrics.tokens_per_step:.1f} tokens a step, {metrics.acceptance:.0%} of the drafts kept"
        )
    if metrics.ttft_s is not None:
        parts.append(f"first after {metrics.ttft_s:.2f} s")
    if metrics.itl_ms.p50 is not None and metrics.itl_ms.p99 is not None:
        parts.append(
            f"between tokens {metrics.itl_ms.p50:.1f} ms (median), {metrics.itl_ms.p99:.1f} ms (p99)"
        )
    if metrics.prompt_tokens is not None:
        rate = "" if metrics.prefill_tps is None else f" at {metrics.prefill_tps:.0f} tokens/s"
        parts.append(f"prompt {metrics.prompt_tokens} tokens{rate}")
    if metrics.load_s is not None:
        parts.append(f"loaded in {metrics.load_s:.1f} s")
    return " · ".join(parts)
