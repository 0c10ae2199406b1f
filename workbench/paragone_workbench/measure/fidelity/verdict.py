"""The verdicts on candidates, in sentences."""

from __future__ import annotations

import math

from paragone import Json
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.measure.fidelity.measured import Candidate, Measured
from paragone_workbench.measure.fidelity.measurement import Fidelity
from paragone_workbench.measure.fidelity.positions import FEWEST_WINDOWS, mean, ratio_error
from paragone_workbench.measure.fidelity.scale import kld_text
from paragone_workbench.measure.fidelity.top_tokens import TOP, TopAgreement
from paragone_workbench.statistics.estimate import Estimate, number

CLEAR = 3
"""A KL divergence is above the noise floor if ln(KLD / noise floor) is more than this number of standard errors.

An engine at the noise floor is found above the noise floor in 3% of the measurements with 4 windows, the fewest for
which there is a standard error, and in 0.2% of the measurements with 100 windows (Student's t).
"""


def verdict(candidate: Candidate, fidelity: Fidelity) -> str:
    """Return the verdict on a candidate as a sentence; empty if nothing was measured."""
    reference = fidelity.reference
    if candidate.top is not None:
        return _top_verdict(candidate, candidate.top, reference)
    if candidate.reason:
        candidate_bits, reference_bits = (
            measured.bits_per_byte(fidelity.text_bytes) for measured in (candidate, reference)
        )
        if candidate_bits is None or reference_bits is None:
            return ""
        return f"{candidate.name}: {number(candidate_bits)} bits per byte, {reference.name} {number(reference_bits)}."
    kld, same = mean(candidate.difference.kld), mean(candidate.difference.same_top)
    if kld is None or same is None:
        return ""
    return (
        f"{candidate.name}: mean KLD {kld_text(kld)}{_beside_noise(kld, candidate, fidelity)}; "
        f"picks another top token at {1 - same.value:.1%} of the positions."
    )


def unchanged(candidate: Candidate, fidelity: Fidelity) -> str:
    """Return a warning if a candidate equals the reference bit by bit, because then nothing was quantized; else empty.

    The warning names the options in which the two definitions differ, since at least one option was not applied.
    """
    if not candidate.difference.windows or candidate.difference.kld.any():
        return ""
    first, second = fidelity.reference.engine, candidate.engine
    found = f"{candidate.name} does not differ from {fidelity.reference.name} at any position"
    if not first.definition.has_model_of(second.definition):
        return (
            f"{found}, although the models have different names. The files may hold the same weights: check that the "
            "quantization was done."
        )
    one, other = _load_options(first), _load_options(second)
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    if not names:
        return f"{found}: both are the same model with the same options, so nothing was compared."
    return f"{found}, although {' and '.join(names)} differ. Check that the engine applies them."


def above_limit(fidelity: Fidelity, limit: float) -> tuple[str, ...]:
    """Return a sentence for each candidate whose mean KL divergence is above a limit, or unknown."""
    found: list[str] = []
    for candidate in fidelity.candidates:
        kld = mean(candidate.difference.kld)
        if kld is None:
            found.append(f"{candidate.name}: the mean KLD is unknown, so the limit {limit:g} is not met.")
        elif kld.value > limit:
            found.append(f"{candidate.name}: the mean KLD {number(kld)} is above the limit {limit:g}.")
    return tuple(found)


def _load_options(engine: EngineHandle) -> dict[str, Json]:
    """Return the load options that an engine was opened with."""
    assert engine.backend is not None
    return split_options(engine.definition, engine.backend)[0]


def _top_verdict(candidate: Candidate, top: TopAgreement, reference: Measured) -> str:
    same, common = top.same_top, top.common
    if same is None or common is None:
        return ""
    return (
        f"{candidate.name}: picks the top token of {reference.name} at {same.value:.1%} of the positions, and "
        f"{common.value:.1%} of the reference's top {TOP} are among the candidate's."
    )


def _beside_noise(kld: Estimate, candidate: Candidate, fidelity: Fidelity) -> str:
    noise, name = mean(fidelity.noise.kld), fidelity.reference.name
    if noise is None:
        return ""
    if not noise.value:
        return f", and {name} does not differ from itself"
    floor, times = f"the noise floor of {name}", kld.value / noise.value
    if times <= 1:
        return f", within {floor} ({number(noise)})"
    error = ratio_error(candidate.difference.kld, fidelity.noise.kld)
    if error is None:
        return f", where {floor} is {number(noise)} (it takes {FEWEST_WINDOWS} windows to tell the KLD from the noise)"
    if math.log(times) <= CLEAR * error:
        return f", within {floor} ({number(noise)})"
    return f", {times:.{0 if times >= 10 else 1}f} × above {floor}"
