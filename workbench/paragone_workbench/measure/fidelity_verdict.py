"""Verdicts on candidates as text and JSON, from new and from saved measurements."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from paragone import Json
from paragone.json_values import number_at, objects_at, text_at
from paragone.texts import counted
from paragone_workbench import statistics
from paragone_workbench.engines.definitions import load_and_sampling_options
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.measure import distances
from paragone_workbench.measure.fidelity import NOISE_BATCH, Fidelity
from paragone_workbench.measure.fit import is_same_file
from paragone_workbench.store.votes import Measurement


def kld_pairs(candidates: Sequence[distances.Measured], unit: str = "window") -> list[dict[str, Json]]:
    """Compare the KL divergences of each pair of candidates that have enough common windows and differ in at least one.

    `difference` is the mean KLD of `b` minus the mean KLD of `a` in nats, with its 95% `interval` by Student's t over the
    windows. `adjusted_p` is the p-value of the t-test over the windows, after Holm's correction for all pairs.
    `windows_needed` windows would show the difference with a probability of 80% if it stayed the same; None if the
    difference is shown, or more than a million are needed. `smallest_shown` is the smallest difference that these windows
    show with that probability.
    """
    found: list[tuple[str, str, statistics.Values]] = []
    for a, b in itertools.combinations(candidates, 2):
        if min(len(a.kld), len(b.kld)) >= distances.FEWEST_WINDOWS:
            both = zip(a.scores, b.scores, strict=False)
            differences = distances.unit_means(a.by_unit(second.kld - first.kld for first, second in both))
            found += [(a.name, b.name, differences)] if differences.any() else []
    adjusted = statistics.holm([statistics.t_test(differences) for *_, differences in found])
    return [_pair(*pair, p, unit) for pair, p in zip(found, adjusted, strict=True)]


def _pair(a: str, b: str, differences: statistics.Values, adjusted_p: float, unit: str) -> dict[str, Json]:
    count, difference = len(differences), float(differences.mean())
    deviation, shown = float(differences.std(ddof=1)), adjusted_p < statistics.LEVEL
    interval = statistics.t_interval(difference, deviation / math.sqrt(count), count)
    needed = None if shown else statistics.values_needed(deviation**2, abs(difference))
    smallest = statistics.smallest_shown(deviation**2, count)
    turned = shown and difference < 0
    low, high = (-interval.high, -interval.low) if turned else (interval.low, interval.high)
    closer, other = (b, a) if turned else (a, b)
    text = f"95% interval {low:+.2g} to {high:+.2g}".replace("-", "−")
    if shown:
        message = f"{closer} is closer than {other}: by {abs(difference):.2g} nats ({text})."
    else:
        message = f"Whether {a} or {b} is closer is open ({text}; {smallest:.2g} nats would be shown). "
        if needed is None:
            message += f"More {'text' if unit == 'window' else f'{unit}s'} would hardly settle this."
        else:
            more = counted(statistics.rounded_up(max(1, needed - count)), f"more {unit}")
            message += f"About {more} would settle this."
    return {
        "a": a,
        "b": b,
        "windows": count,
        "difference": difference,
        "interval": interval.to_json(),
        "adjusted_p": adjusted_p,
        "windows_needed": needed,
        "smallest_shown": smallest,
        "shown": shown,
        "sentence": message,
    }


SCALE = {"tiny": 0.01, "small": 0.05, "noticeable": 0.2, "large": 0.5, "another model": math.inf}
"""The bands of the scale, best first, each with its upper limit in nats."""


def band_of(kld: float) -> str:
    return next(name for name, limit in SCALE.items() if kld < limit)


def kld_text(kld: statistics.Estimate) -> str:
    return f"{statistics.number(kld)} ({band_of(kld.value)})"


def scale_text() -> str:
    *bands, last = SCALE
    return f"{', '.join(f'{name} below {SCALE[name]:g}' for name in bands)}, else {last}"


CLEAR = 3
"""A KL divergence is above the noise floor if ln(KLD / noise floor) is more than this number of standard errors.

An engine at the noise floor appears above it in 3% of the measurements with 4 windows (the fewest with a standard
error), and in 0.2% of the measurements with 100 windows (Student's t).

"""


def verdict(candidate: distances.Measured, fidelity: Fidelity) -> str:
    reference = fidelity.reference
    if candidate.top is not None:
        same, common = candidate.top_estimates
        if same is None or common is None:
            return ""
        return (
            f"{candidate.name}: picks the top token of {reference.name} at {same.value:.1%} of the positions, and "
            f"{common.value:.1%} of the reference's top {distances.TOP} tokens are among the candidate's."
        )
    if candidate.only_losses:
        loss = distances.mean(excess_of(candidate, reference) or ())
        return (
            ""
            if loss is None
            else (
                f"{candidate.name}: the answers' log-likelihood differs from {reference.name} by "
                f"{statistics.number(loss._replace(value=-loss.value))} nats a token."
            )
        )
    if candidate.reason:
        candidate_bits, reference_bits = (
            measured.bits_per_byte(fidelity.text_bytes) for measured in (candidate, reference)
        )
        if candidate_bits is None or reference_bits is None:
            return ""
        return f"{candidate.name}: {statistics.number(candidate_bits)} bits per byte, {reference.name} {statistics.number(reference_bits)}."
    kld, same = (distances.mean(candidate.kld), distances.mean(candidate.same_top))
    if kld is None or same is None:
        return ""
    return (
        f"{candidate.name}: mean KLD {kld_text(kld)}{_beside_noise(kld, candidate, fidelity)}; "
        f"picks another top token at {1 - same.value:.1%} of the positions."
    )


def unchanged(candidate: distances.Measured, fidelity: Fidelity) -> str:
    """Return a warning, with the options that differ, if a candidate equals the reference bit by bit; else empty."""
    if not candidate.scores or any(scores.kld.any() for scores in candidate.scores):
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
    found: list[str] = []
    for candidate in fidelity.candidates:
        kld = distances.mean(candidate.kld)
        if kld is None:
            found.append(f"{candidate.name}: the mean KLD is unknown, so the limit {limit:g} is not met.")
        elif kld.value > limit:
            found.append(
                f"{candidate.name}: the mean KLD {statistics.number(kld)} is above the limit {limit:g}."
            )
    return tuple(found)


def _load_options(engine: EngineTask) -> dict[str, Json]:
    assert engine.backend is not None
    return load_and_sampling_options(engine.definition, engine.backend)[0]


def _beside_noise(kld: statistics.Estimate, candidate: distances.Measured, fidelity: Fidelity) -> str:
    noise, name = distances.mean(fidelity.noise.kld), fidelity.reference.name
    if noise is None:
        return ""
    if not noise.value:
        return f", and {name} does not differ from itself"
    floor, times = f"the noise floor of {name}", kld.value / noise.value
    within = is_within_noise(candidate, fidelity)
    if within is None:
        return f", where {floor} is {statistics.number(noise)} (it takes {distances.FEWEST_WINDOWS} {fidelity.unit}s to tell the KLD from the noise)"
    if within:
        return f", within {floor} ({statistics.number(noise)})"
    return f", {times:.{0 if times >= 10 else 1}f} × above {floor}"


def is_within_noise(candidate: distances.Measured, fidelity: Fidelity) -> bool | None:
    """Return whether a candidate's KL divergence is within the noise floor of the reference; None if this is unknown."""
    kld, noise = distances.mean(candidate.kld), distances.mean(fidelity.noise.kld)
    if kld is None or noise is None:
        return None
    if kld.value <= noise.value or not noise.value:
        return kld.value <= noise.value
    error = distances.ratio_error(candidate.kld, fidelity.noise.kld)
    return None if error is None else math.log(kld.value / noise.value) <= CLEAR * error


PARTS = 4


def depths(klds: Sequence[distances.Units], window: int) -> list[dict[str, Json]]:
    """Return the mean KL divergence of each candidate by depth in the context. `window` is the number of tokens in a window.
    In the result, `parts` are ranges of depths in tokens, the shallowest first. `growth` is the last part's divergence
    minus the first's, as a mean over windows; None with too few windows. `adjusted_p` is the p-value of the t-test over
    windows, after Holm's correction for all candidates."""
    found = [_depth(kld, window) for kld in klds]
    tested = [(depth, growths) for depth, growths in found if depth["growth"] is not None]
    adjusted = statistics.holm([statistics.t_test(growths) for _, growths in tested])
    for (depth, growths), p in zip(tested, adjusted, strict=True):
        depth |= {"adjusted_p": p, "grows": float(growths.mean()) > 0 and p < statistics.LEVEL}
    return [depth for depth, _ in found]


def _depth(units: distances.Units, window: int) -> tuple[dict[str, Json], statistics.Values]:
    """Return the divergence by depth, and for each window the last part's divergence minus the first's."""
    unknown: dict[str, Json] = {"growth": None, "interval": None, "adjusted_p": None, "grows": False}
    kld = statistics.np.array(list(units))
    if kld.ndim < 2 or kld.shape[1] < PARTS:
        return {"parts": [], **unknown}, statistics.np.empty(0)
    columns = statistics.np.array_split(statistics.np.arange(kld.shape[1]), PARTS)
    before = window // 2 + 1  # number of tokens before the first scored position
    parts: list[Json] = []
    for part in columns:
        ends = {"first": before + int(part[0]), "last": before + int(part[-1])}
        parts.append({**ends, **estimate_json("mean_kld", distances.mean(kld[:, part]))})
    growths = kld[:, columns[-1]].mean(axis=1) - kld[:, columns[0]].mean(axis=1)
    growth = distances.mean(growths[:, None])
    depth: dict[str, Json] = {"parts": parts, **unknown}
    if growth is not None and growth.error is not None:
        interval = statistics.t_interval(growth.value, growth.error, len(growths))
        depth |= {"growth": growth.value, "interval": interval.to_json()}
    return depth, growths


_KLD_PERCENTILES = (100, 99.9, 99, 95, 90, 50, 10, 5, 1, 0.1, 0)
_DELTA_P_PERCENTILES = (100, 99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1, 0)

_INDEPENDENT = "llama_perplexity_se"
"""The name in JSON of the standard errors by llama-perplexity's formulas."""


def fidelity_json(fidelity: Fidelity) -> dict[str, Json]:
    # answers begin at different depths
    by_depth = depths([it.kld if fidelity.window else () for it in fidelity.candidates], fidelity.window)
    return {
        "window": fidelity.window,
        "windows": fidelity.reference.windows,
        "text_windows": fidelity.windows,
        "tokens_scored": sum(map(len, fidelity.reference.window_losses)),
        "partial": fidelity.partial,
        "reference": {
            **_measured_json(fidelity.reference, fidelity),
            _INDEPENDENT: _loss_errors(fidelity.reference),
        },
        "noise": {
            "batch": NOISE_BATCH,
            "windows": len(fidelity.noise.scores),
            **_difference_json(fidelity.noise),
            _INDEPENDENT: distances.independent_errors(fidelity.noise),
        },
        "candidates": [
            {**_candidate_json(candidate, fidelity), "by_depth": depth}
            for candidate, depth in zip(fidelity.candidates, by_depth, strict=True)
        ],
        "pairs": kld_pairs(fidelity.candidates, fidelity.unit),
    }


def _measured_json(measured: distances.Measured, fidelity: Fidelity) -> dict[str, Json]:
    return {
        "engine": measured.name,
        "size": measured.size,
        "windows": measured.windows,
        **estimate_json("ppl", measured.perplexity),
        **estimate_json("bits_per_byte", measured.bits_per_byte(fidelity.text_bytes)),
        "error": str(measured.error) if measured.error is not None else None,
    }


def _candidate_json(candidate: distances.Measured, fidelity: Fidelity) -> dict[str, Json]:
    # a passage that is difficult for both engines does not add to the uncertainty
    excess = excess_of(candidate, fidelity.reference)
    kld = distances.mean(candidate.kld)
    same, common = candidate.top_estimates
    return {
        **_measured_json(candidate, fidelity),
        **estimate_json("log_ppl_ratio", None if excess is None else distances.mean(excess)),
        **_difference_json(candidate),
        _INDEPENDENT: {
            **_loss_errors(candidate),
            "log_ppl_ratio": None
            if excess is None or candidate.only_losses
            else distances.mean_error(distances.flat(excess)),
            **distances.independent_errors(candidate),
        },
        "band": None if kld is None else band_of(kld.value),
        "within_noise": is_within_noise(candidate, fidelity),
        "warning": unchanged(candidate, fidelity) or None,
        "sentence": verdict(candidate, fidelity) or None,
        "top_k": None
        if candidate.top is None
        else {
            "k": distances.TOP,
            "windows": len(candidate.top),
            **estimate_json("common", common),
            "top1_agreement": same and same.value,
            "top1_se": same and same.error,
        },
        "reason": candidate.reason or None,
    }


def excess_of(candidate: distances.Measured, reference: distances.Measured) -> list[statistics.Values] | None:
    """Return by how much the candidate's log-losses exceed the reference's, over the windows that both have. None
    without such windows, and for other tokens than the reference's."""
    if not candidate.windows or (candidate.reason and not candidate.only_losses):
        return None
    both = zip(candidate.window_losses, reference.window_losses, strict=False)
    return candidate.by_unit(own - other for own, other in both)


def _loss_errors(measured: distances.Measured) -> dict[str, Json]:
    losses = distances.flat(() if measured.only_losses else measured.losses)
    mean = math.exp(float(losses.mean())) if losses.size else 0.0
    return {"ppl": mean * distances.mean_error(losses) if losses.size else None}


def _difference_json(measured: distances.Measured) -> dict[str, Json]:
    kld, delta_p, same_top = distances.flat(measured.kld), measured.delta_p, distances.mean(measured.same_top)
    percentiles = _percentiles(kld, _KLD_PERCENTILES)
    return {
        **estimate_json("mean_kld", distances.mean(measured.kld)),
        "median_kld": percentiles["50"],
        "p90_kld": percentiles["90"],
        "p99_kld": percentiles["99"],
        "max_kld": percentiles["100"],
        "kld_percentiles": percentiles,
        "kld_shares": distances.shares(kld) if kld.size else [],
        **estimate_json("mean_dp", distances.mean(delta_p)),
        **estimate_json("rms_dp", distances.root_mean_square(delta_p)),
        "dp_percentiles": _percentiles(distances.flat(delta_p), _DELTA_P_PERCENTILES),
        "top1_agreement": same_top and same_top.value,
        "top1_se": same_top and same_top.error,
    }


def estimate_json(name: str, estimate: statistics.Estimate | None) -> dict[str, Json]:
    return {name: estimate and estimate.value, f"{name}_se": estimate and estimate.error}


def _percentiles(values: statistics.Values, wanted: tuple[float, ...]) -> dict[str, Json]:
    return {f"{percent:g}": distances.percentile(values, percent / 100) for percent in wanted}


def saved_fidelity(
    measurements: Iterable[Measurement], backend: str, model: str
) -> tuple[Mapping[str, Json], Measurement] | None:
    """Return the figures of the model as a candidate in the newest measurement that has them; None if none has.
    `measurements` begin with the newest. A measurement against the same model is skipped: it does not measure the
    quantization."""
    for measurement in measurements:
        reference = measurement.engines[0]
        if reference.backend == backend and is_same_file(reference.model, model):
            continue
        figures = {text_at(it, "engine"): it for it in objects_at(measurement.data, "candidates")}
        for candidate in measurement.measured:
            found = figures.get(candidate.name, {})
            if (
                candidate.backend == backend
                and is_same_file(candidate.model, model)
                and number_at(found, "mean_kld") is not None
            ):
                return found, measurement
    return None
