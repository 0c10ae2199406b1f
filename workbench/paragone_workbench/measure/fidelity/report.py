"""The results of a fidelity measurement as figures and as JSON."""

from __future__ import annotations

from paragone import Json
from paragone_workbench.measure.fidelity.depth import Depth, depths
from paragone_workbench.measure.fidelity.independent_positions import (
    difference_errors,
    mean_error,
    perplexity_error,
)
from paragone_workbench.measure.fidelity.measured import Candidate, Difference, Measured
from paragone_workbench.measure.fidelity.measurement import NOISE_BATCH, Fidelity
from paragone_workbench.measure.fidelity.pairs import kld_pairs
from paragone_workbench.measure.fidelity.positions import (
    mean,
    percentile,
    root_mean_square,
)
from paragone_workbench.measure.fidelity.scale import band_of
from paragone_workbench.measure.fidelity.top_tokens import TOP
from paragone_workbench.measure.fidelity.verdict import unchanged
from paragone_workbench.statistics.estimate import Estimate
from paragone_workbench.statistics.numeric import Values

_KLD_PERCENTILES = (100, 99.9, 99, 95, 90, 50, 10, 5, 1, 0.1, 0)
_DELTA_P_PERCENTILES = (100, 99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1, 0)

_INDEPENDENT = "llama_perplexity_se"
"""The name in JSON of the standard errors by llama-perplexity's formulas."""


def fidelity_json(fidelity: Fidelity) -> dict[str, Json]:
    """Return a measurement. Unknown values are null. docs/command-line.schema.json has the schema."""
    return {
        "window": fidelity.window,
        "windows": fidelity.reference.windows,
        "tokens_scored": int(fidelity.reference.losses.size),
        "partial": fidelity.partial,
        "reference": {
            **_measured_json(fidelity.reference, fidelity),
            _INDEPENDENT: _loss_errors(fidelity.reference),
        },
        "noise": {
            "batch": NOISE_BATCH,
            "windows": fidelity.noise.windows,
            **_difference_json(fidelity.noise),
            _INDEPENDENT: difference_errors(fidelity.noise),
        },
        "candidates": [
            {**_candidate_json(candidate, fidelity), "by_depth": depth.to_json()}
            for candidate, depth in zip(fidelity.candidates, depths_of(fidelity), strict=True)
        ],
        "pairs": [pair.to_json() for pair in kld_pairs(fidelity.candidates)],
    }


def depths_of(fidelity: Fidelity) -> tuple[Depth, ...]:
    """Return the divergence of each candidate by the depth in the context."""
    return depths([candidate.difference.kld for candidate in fidelity.candidates], fidelity.window)


def _measured_json(measured: Measured, fidelity: Fidelity) -> dict[str, Json]:
    return {
        "engine": measured.name,
        "size": measured.size,
        "windows": measured.windows,
        **_estimate_json("ppl", measured.perplexity),
        **_estimate_json("bits_per_byte", measured.bits_per_byte(fidelity.text_bytes)),
        "error": str(measured.error) if measured.error is not None else None,
    }


def _candidate_json(candidate: Candidate, fidelity: Fidelity) -> dict[str, Json]:
    ratio = log_ratio(candidate, fidelity.reference)
    kld = mean(candidate.difference.kld)
    top = candidate.top
    common, same = (None, None) if top is None else (top.common, top.same_top)
    return {
        **_measured_json(candidate, fidelity),
        **_estimate_json("log_ppl_ratio", ratio),
        **_difference_json(candidate.difference),
        _INDEPENDENT: {
            **_loss_errors(candidate),
            "log_ppl_ratio": None if ratio is None else mean_error(_excess(candidate, fidelity.reference)),
            **difference_errors(candidate.difference),
        },
        "band": None if kld is None else band_of(kld.value),
        "warning": unchanged(candidate, fidelity) or None,
        "top_k": None
        if top is None
        else {
            "k": TOP,
            "windows": top.windows,
            **_estimate_json("common", common),
            "top1_agreement": same and same.value,
            "top1_se": same and same.error,
        },
        "reason": candidate.reason or None,
    }


def log_ratio(candidate: Candidate, reference: Measured) -> Estimate | None:
    """Return ln(PPL of the candidate / PPL of the reference) over the windows that both have.

    The result is the mean of the differences in log-loss, so a passage that is hard for both models adds nothing to the
    uncertainty. None if the candidate has another vocabulary, or was not measured.
    """
    if candidate.reason or not candidate.windows:
        return None
    return mean(_excess(candidate, reference))


def _excess(candidate: Candidate, reference: Measured) -> Values:
    """Return by how much the candidate's log-losses exceed the reference's, over the windows that both have."""
    return candidate.losses - reference.losses[: candidate.windows]


def _loss_errors(measured: Measured) -> dict[str, Json]:
    return {"ppl": perplexity_error(measured.losses) if measured.windows else None}


def _difference_json(difference: Difference) -> dict[str, Json]:
    kld, delta_p, same_top = difference.kld, difference.delta_p, mean(difference.same_top)
    percentiles = _percentiles(kld, _KLD_PERCENTILES)
    return {
        **_estimate_json("mean_kld", mean(kld)),
        "median_kld": percentiles["50"],
        "p90_kld": percentiles["90"],
        "p99_kld": percentiles["99"],
        "max_kld": percentiles["100"],
        "kld_percentiles": percentiles,
        **_estimate_json("mean_dp", mean(delta_p)),
        **_estimate_json("rms_dp", root_mean_square(delta_p)),
        "dp_percentiles": _percentiles(delta_p, _DELTA_P_PERCENTILES),
        "top1_agreement": same_top and same_top.value,
        "top1_se": same_top and same_top.error,
    }


def _estimate_json(name: str, estimate: Estimate | None) -> dict[str, Json]:
    return {name: estimate and estimate.value, f"{name}_se": estimate and estimate.error}


def _percentiles(values: Values, wanted: tuple[float, ...]) -> dict[str, Json]:
    """Return percentiles by percentage; None with fewer than 100 values."""
    return {f"{percent:g}": percentile(values, percent / 100) for percent in wanted}
