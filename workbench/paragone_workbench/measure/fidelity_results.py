"""The results of engines over a text: values at each scored position, and the figures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from paragone import Alternative, EngineError, Json, LogitsBlock, ParagoneError
from paragone.json_values import number_at
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.statistics import LEVEL, Estimate, Values, holm, np, t_interval, t_test

if TYPE_CHECKING:
    from numpy.typing import NDArray


Rows: TypeAlias = "NDArray[np.float32]"
"""Log-probabilities: one row for each position, one column for each token of the vocabulary."""

Targets: TypeAlias = "NDArray[np.int64]"
"""The token that really follows, for each position."""


class Scores(NamedTuple):
    """Figures of a candidate's distributions q beside the reference's p, at each position."""

    loss: NDArray[np.float64]
    """Log-loss −ln q of the token that really follows, in nats."""
    kld: NDArray[np.float64]
    """KL divergence Σ p·(ln p − ln q), in nats."""
    delta_p: NDArray[np.float64]
    """The probability under q minus that under p, of the token that really follows."""
    same_top: NDArray[np.bool_]


def log_probabilities(block: LogitsBlock) -> Rows:
    """Return the logarithm of the softmax of each row, in new memory. Raises EngineError if a logit is not finite.

    Single precision is exact to about 1e-6 nats, far below the differences of an engine from itself.
    """
    logits = np.asarray(block.data, dtype=np.float32).reshape(block.rows, block.vocab_size)
    with np.errstate(invalid="ignore"):  # numbers that are not finite are an error below
        rows: Rows = logits - logits.max(axis=1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    if not np.isfinite(rows).all():
        raise EngineError(
            "The engine computed logits that are not finite numbers.",
            hint="The model's file may be damaged, or the quantization too coarse.",
        )
    return rows


def losses(rows: Rows, targets: Targets) -> NDArray[np.float64]:
    return -rows[np.arange(len(targets)), targets].astype(np.float64)


def compared(reference: Rows, candidate: Rows, targets: Targets) -> Scores:
    terms = np.exp(reference)
    terms *= reference - candidate
    # A KL divergence is never negative, but the rounded sum can be.
    kld = np.maximum(terms.sum(axis=1, dtype=np.float64), 0)
    loss = losses(candidate, targets)
    delta_p = np.exp(-loss) - np.exp(-losses(reference, targets))
    return Scores(loss, kld, delta_p, reference.argmax(axis=1) == candidate.argmax(axis=1))


FEWEST_WINDOWS = 4
"""Number of windows below which the uncertainty is unknown: the standard error of so few windows is mostly chance."""

_FEWEST_POSITIONS = 100

DECADES = range(-6, 2)
"""Exponents of the powers of ten, in nats, between which `shares` counts positions."""

_PER_DECADE = 6


def stacked(windows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.stack(windows) if windows else np.empty((0, 0))


def mean(values: NDArray[Any]) -> Estimate | None:
    """Return the mean of numbers, or the share of true values. None without values."""
    if not values.size:
        return None
    windows = values.mean(axis=1)
    count = len(windows)
    error = float(windows.std(ddof=1)) / math.sqrt(count) if count >= FEWEST_WINDOWS else None
    return Estimate(float(windows.mean()), error)


def perplexity(losses: Values) -> Estimate | None:
    """Return the perplexity e^mean of log-losses in nats. Its uncertainty is e^mean times the uncertainty of the mean."""
    loss = mean(losses)
    if loss is None:
        return None
    value = math.exp(loss.value)
    return Estimate(value, loss.scaled(value).error)


def root_mean_square(values: Values) -> Estimate | None:
    """Return √E[x²]. The uncertainty of √E[x²] is the uncertainty of E[x²] divided by 2·√E[x²]."""
    squares = mean(values**2)
    if squares is None:
        return None
    root = math.sqrt(squares.value)
    return Estimate(root, squares.scaled(1 / (2 * root)).error if root else squares.error)


def percentile(values: Values, fraction: float) -> float | None:
    """Return a percentile by linear interpolation at fraction·(n − 1). None for fewer than 100 values."""
    return float(np.quantile(values, fraction)) if values.size >= _FEWEST_POSITIONS else None


def shares(kld: Values) -> list[float]:
    """Return the share of KL divergences in each sixth of a decade. Values outside of `DECADES` count at the nearest end."""
    first, last = DECADES[0], DECADES[-1]
    edges = np.linspace(first, last, (last - first) * _PER_DECADE + 1)
    logarithms = np.log10(np.clip(kld, 10.0**first, 10.0**last))
    counts, _ = np.histogram(logarithms, edges)
    return [float(count) / max(kld.size, 1) for count in counts]


def ratio_error(many: Values, few: Values) -> float | None:
    """Return the relative standard error of mean(`many`) / mean(`few`). Both means are positive.

    The error is s·√(1/n + 1/m), as in Student's two-sample t-test. The mean of each window is divided by the mean of its
    group; s² is the pooled variance of these ratios, n and m are the numbers of windows. The formula assumes that `many`
    and `few` vary by the same share from window to window, so that `few` may be a single window, from which no variance
    can be estimated.
    """
    if len(many) < FEWEST_WINDOWS:
        return None
    relative = [values.mean(axis=1) / values.mean() for values in (many, few)]
    variance = sum(float(((part - 1) ** 2).sum()) for part in relative) / (len(many) + len(few) - 2)
    return math.sqrt(variance * (1 / len(many) + 1 / len(few)))


TOP = 10

Tops: TypeAlias = "NDArray[np.int64]"
"""The ids of the likeliest tokens, the likeliest first: one row for each position."""


def top_of(rows: Rows) -> Tops:
    count = min(TOP, rows.shape[1])
    found = np.argpartition(rows, -count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(rows, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def top_agreement(
    reference: Tops, candidate: Sequence[Sequence[Alternative]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return whether the likeliest tokens are the same, and the share of the reference's likeliest that the candidate has."""
    pairs = [
        (expected, [token.id for token in found])
        for expected, found in zip(reference.tolist(), candidate, strict=True)
    ]
    return (
        np.array([ids[:1] == expected[:1] for expected, ids in pairs]),
        np.array([len(set(ids) & set(expected)) / len(expected) for expected, ids in pairs]),
    )


class Measured:
    """The values of an engine, and, if it is a candidate, its difference from the reference."""

    def __init__(self, engine: EngineTask) -> None:
        self.engine = engine
        self.name = engine.definition.name
        """The name of the engine's lane, if the engine belongs to a lane; else the engine's name."""
        self.size: int | None = None
        self.tokens = 0
        self.error: ParagoneError | None = None
        self.width = 0
        """Number of tokens of the vocabulary."""
        self.scores: list[Scores] = []
        """For each compared window, how the engine differs from the reference."""
        self.top: list[tuple[NDArray[Any], NDArray[Any]]] | None = None
        """For each window the `top_agreement`, if the engine reports no more than its likeliest tokens."""
        self.reason = ""
        """A sentence that says why the candidate is not compared over the whole vocabulary; empty if it is compared."""
        self._losses: list[Values] = []

    def add(self, losses: Values) -> None:
        self._losses.append(losses)

    def compare(self, parts: Sequence[Scores]) -> Scores:
        """Add the scores of a window, and return them. `parts` are those of its blocks."""
        scores = Scores(*map(np.concatenate, zip(*parts, strict=True)))
        self.scores.append(scores)
        return scores

    @property
    def kld(self) -> Values:
        return stacked([scores.kld for scores in self.scores])

    @property
    def delta_p(self) -> Values:
        return stacked([scores.delta_p for scores in self.scores])

    @property
    def same_top(self) -> NDArray[Any]:
        return stacked([scores.same_top for scores in self.scores])

    @property
    def windows(self) -> int:
        return len(self._losses)

    @property
    def losses(self) -> Values:
        return stacked(self._losses)

    @property
    def perplexity(self) -> Estimate | None:
        return perplexity(self.losses)

    def bits_per_byte(self, size: int) -> Estimate | None:
        """Return the bits that the model needs for a byte of the text, whose UTF-8 has `size` bytes.

        It is the mean log-loss times the tokens per byte, which is comparable between vocabularies.
        """
        loss = mean(self.losses)
        return None if loss is None else loss.scaled(self.tokens / size / math.log(2))

    @property
    def top_estimates(self) -> tuple[Estimate | None, Estimate | None]:
        """How often the likeliest token is the same, and the mean share of the reference's likeliest tokens."""
        same, common = zip(*self.top, strict=True) if self.top else ((), ())
        return mean(stacked(same)), mean(stacked(common))


_FEWEST = 11
"""Number of values below which llama-perplexity gives the uncertainty of a mean as 0."""


def mean_error(values: NDArray[Any]) -> float:
    """Return the error of a mean, √((E[x²] − E[x]²)/(n − 1)), which for a share is √(p·(1 − p)/(n − 1)).

    For the differences of two models' log-losses, this is the error of ln(PPL ratio), √(σq² + σp² − 2·c) with the covariance c.
    """
    return float(values.std()) / math.sqrt(values.size - 1) if values.size >= _FEWEST else 0.0


def perplexity_error(losses: Values) -> float:
    return math.exp(float(losses.mean())) * mean_error(losses)


def root_mean_square_error(values: Values) -> float:
    """Return the error of a root mean square, σ(x²)/(2·√E[x²]), where σ(x²) is the error of E[x²]."""
    squares = values**2
    root = math.sqrt(float(squares.mean()))
    return mean_error(squares) / (2 * root) if root else 0.0


def difference_errors(measured: Measured) -> dict[str, Json]:
    """Return the errors of the differences from the reference, by name in JSON; None for each if no window was compared."""
    if not measured.scores:
        return dict.fromkeys(("mean_kld", "mean_dp", "rms_dp", "top1_agreement"))
    return {
        "mean_kld": mean_error(measured.kld),
        "mean_dp": mean_error(measured.delta_p),
        "rms_dp": root_mean_square_error(measured.delta_p),
        "top1_agreement": mean_error(measured.same_top),
    }


PARTS = 4


def depths(klds: Sequence[Values], window: int) -> list[dict[str, Json]]:
    """Return the divergence of each candidate by depth, from the KL divergences. `window` is the size of a window.

    `parts` are the ranges of depths in tokens, the shallowest first. `growth` is the last part's divergence minus the
    first's, as a mean over windows; None with too few windows. `adjusted_p` is the p-value of the t-test over windows, after
    Holm's correction for all candidates.
    """
    found = [_depth(kld, window) for kld in klds]
    tested = [(depth, p) for depth, p in found if p is not None]
    adjusted = zip(tested, holm([p for _, p in tested]), strict=True)
    for (depth, _), p in adjusted:
        growth = number_at(depth, "growth")
        depth |= {"adjusted_p": p, "grows": growth is not None and growth > 0 and p < LEVEL}
    return [depth for depth, _ in found]


def _depth(kld: Values, window: int) -> tuple[dict[str, Json], float | None]:
    """Return the divergence by depth, and the p-value before any correction."""
    depth: dict[str, Json] = {
        "parts": [],
        "growth": None,
        "interval": None,
        "adjusted_p": None,
        "grows": False,
    }
    if not kld.size or kld.shape[1] < PARTS:
        return depth, None
    columns = np.array_split(np.arange(kld.shape[1]), PARTS)
    before = window // 2 + 1  # tokens that precede the first scored position
    parts: list[Json] = []
    for part in columns:
        estimate = mean(kld[:, part])
        assert estimate is not None  # there are values
        ends = {"first": before + int(part[0]), "last": before + int(part[-1])}
        parts.append({**ends, "mean_kld": estimate.value, "mean_kld_se": estimate.error})
    depth["parts"] = parts
    growths = kld[:, columns[-1]].mean(axis=1) - kld[:, columns[0]].mean(axis=1)
    growth = mean(growths[:, None])
    if growth is None or growth.error is None:
        return depth, None
    depth["growth"] = growth.value
    depth["interval"] = t_interval(growth.value, growth.error, len(growths)).to_json()
    return depth, t_test(growths)
