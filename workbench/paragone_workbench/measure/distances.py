"""How a candidate's distributions of the next token differ from a reference's: figures of positions, and their means, whose
uncertainty comes from units such as windows of a text or conversations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import paragone
from paragone_workbench.statistics import Estimate, Values, np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from paragone_workbench.engines.engine import EngineTask


Rows: TypeAlias = "NDArray[np.float32]"
"""Log-probabilities: one row for each position, one column for each token of the vocabulary."""

Targets: TypeAlias = "NDArray[np.int64]"
"""For each position, the token that follows in the text."""


class Scores(NamedTuple):
    """For each position, figures of a candidate's distribution q compared with the reference's distribution p."""

    loss: NDArray[np.float64]
    """Log-loss −ln q of the token that follows in the text, in nats."""
    kld: NDArray[np.float64]
    """KL divergence Σ p·(ln p − ln q), in nats."""
    delta_p: NDArray[np.float64]
    """For the token that follows in the text: its probability under q minus its probability under p."""
    same_top: NDArray[np.bool_]


def log_probabilities(block: paragone.LogitsBlock) -> Rows:
    """Return the logarithm of the softmax of each row, in new memory. Raises paragone.EngineError if a logit is not
    finite. Single precision is exact to about 1e-6 nats: an engine differs from itself by far more."""
    logits = np.asarray(block.data, dtype=np.float32).reshape(block.rows, block.vocab_size)
    with np.errstate(invalid="ignore"):  # numbers that are not finite raise an error below
        rows: Rows = logits - logits.max(axis=1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    if not np.isfinite(rows).all():
        raise paragone.EngineError(
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
"""With fewer windows the uncertainty is unknown: the standard error of so few is mostly chance."""

_FEWEST_POSITIONS = 100

DECADES = range(-6, 2)
"""Exponents of the powers of ten, in nats, between which `shares` counts positions."""

_PER_DECADE = 6


Units: TypeAlias = "Iterable[NDArray[Any]]"
"""The values of the positions of each unit of uncertainty: of each window of a text, or of each conversation."""


def flat(units: Units) -> NDArray[Any]:
    return np.concatenate([np.empty(0), *units])


def unit_means(units: Units) -> Values:
    """Return a number for each unit. Their mean is the mean over all positions, and their standard error is its error.

    Units of the same size have their means. Else the error is the jackknife's: with the means m over all N positions and
    m' without the unit's k positions, whose sum is s, the number is (n − 1)·(m − m') + c for n units, where m − m' is
    (s − m·k)/(N − k), and c makes m the mean of the numbers.
    """
    counts, sums = np.array([[part.size, part.sum()] for part in units if part.size]).reshape(-1, 2).T
    if not counts.size or (counts == counts[0]).all():
        return np.asarray(sums / counts)
    whole = sums.sum() / counts.sum()
    changes = (len(counts) - 1) * (sums - whole * counts) / (counts.sum() - counts)
    return np.asarray(whole + changes - changes.mean())


def by_unit(windows: Iterable[tuple[int, NDArray[Any]]]) -> list[NDArray[Any]]:
    """Return the values of each unit. Each window comes with the number of its unit."""
    found: dict[int, list[NDArray[Any]]] = {}
    for unit, values in windows:
        found.setdefault(unit, []).append(values)
    return [np.concatenate(parts) for parts in found.values()]


def mean(units: Units) -> Estimate | None:
    """Return the mean of numbers, or the share of true values. None without values."""
    values = unit_means(units)
    count = len(values)
    if not count:
        return None
    error = float(values.std(ddof=1)) / math.sqrt(count) if count >= FEWEST_WINDOWS else None
    return Estimate(float(values.mean()), error)


def perplexity(losses: Units) -> Estimate | None:
    """Return the perplexity e^mean of log-losses in nats, whose uncertainty is e^mean times the uncertainty of the mean."""
    loss = mean(losses)
    if loss is None:
        return None
    value = math.exp(loss.value)
    return Estimate(value, loss.scaled(value).error)


def root_mean_square(units: Units) -> Estimate | None:
    """Return √E[x²]. The uncertainty of √E[x²] is the uncertainty of E[x²] divided by 2·√E[x²]."""
    squares = mean(values**2 for values in units)
    if squares is None:
        return None
    root = math.sqrt(squares.value)
    return Estimate(root, squares.scaled(1 / (2 * root)).error if root else squares.error)


def percentile(values: Values, fraction: float) -> float | None:
    """Return a percentile by linear interpolation at fraction·(n − 1). None for fewer than 100 values."""
    return float(np.quantile(values, fraction)) if values.size >= _FEWEST_POSITIONS else None


def shares(kld: Values) -> list[float]:
    """Return the share of KL divergences in each sixth of a decade. Values outside `DECADES` count at the nearest end."""
    first, last = DECADES[0], DECADES[-1]
    edges = np.linspace(first, last, (last - first) * _PER_DECADE + 1)
    logarithms = np.log10(np.clip(kld, 10.0**first, 10.0**last))
    counts, _ = np.histogram(logarithms, edges)
    return [float(count) / max(kld.size, 1) for count in counts]


def ratio_error(many: Units, few: Units) -> float | None:
    """Return the relative standard error of mean(`many`) / mean(`few`). Both means are positive.

    The error is s·√(1/n + 1/m), as in Student's two-sample t-test. The mean of each unit is divided by the mean of
    its group; s² is the pooled variance of these ratios, n and m are the numbers of units. The formula assumes that
    `many` and `few` vary by the same share from unit to unit, so that `few` may be a single unit, from which no
    variance can be estimated.
    """
    first, second = unit_means(many), unit_means(few)
    if len(first) < FEWEST_WINDOWS:
        return None
    squares = sum(float(((part / part.mean() - 1) ** 2).sum()) for part in (first, second))
    return math.sqrt(squares / (len(first) + len(second) - 2) * (1 / len(first) + 1 / len(second)))


TOP = 10

Tops: TypeAlias = "NDArray[np.int64]"
"""The ids of the most likely tokens, most likely first: one row for each position."""


def top_of(rows: Rows) -> Tops:
    count = min(TOP, rows.shape[1])
    found = np.argpartition(rows, -count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(rows, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def _likely(row: Rows) -> Sequence[tuple[int, float]]:
    ids = top_of(row)[0].tolist()
    return tuple((token, float(row[0, token])) for token in ids)


def top_agreement(
    reference: Tops, candidate: Sequence[Sequence[paragone.Alternative]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return whether both have the same top token, and the share of the reference's top tokens that the candidate's top has."""
    pairs = [
        (expected, [token.id for token in found])
        for expected, found in zip(reference.tolist(), candidate, strict=True)
    ]
    return (
        np.array([ids[:1] == expected[:1] for expected, ids in pairs]),
        np.array([len(set(ids) & set(expected)) / len(expected) for expected, ids in pairs]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of a text, the second half of which is scored; or a conversation up to an answer, which is scored."""

    ids: tuple[int, ...]
    """The tokens to compute: all but the last, with BOS in place of the first if the model adds a BOS token."""
    start: int
    """Index in `ids` of the first token whose successor is scored."""
    targets: Targets
    unit: int
    """The number of the window, or of the conversation."""


WORST = 10


class WorstPlace(NamedTuple):
    """A position where a candidate is far from the reference, and the most likely tokens of both, with their ids and
    log-probabilities."""

    kld: float
    window: Window
    position: int
    """Index of the position among the scored positions of the window."""
    reference: Sequence[tuple[int, float]]
    candidate: Sequence[tuple[int, float]]


class Measured:
    """The values of an engine, and, if it is a candidate, its difference from the reference."""

    def __init__(self, engine: EngineTask) -> None:
        self.engine = engine
        self.name = engine.definition.name
        """The name of the engine's lane, if the engine belongs to a lane; else the engine's name."""
        self.size: int | None = None
        self.tokens = 0
        self.error: paragone.ParagoneError | None = None
        self.width = 0
        """Number of tokens of the vocabulary."""
        self.scores: list[Scores] = []
        """For each compared window, how the engine differs from the reference."""
        self.top: list[tuple[NDArray[Any], NDArray[Any]]] | None = None
        """For each window the `top_agreement`, if the engine reports only its most likely tokens."""
        self.reason = ""
        """Why the candidate is not compared over the whole vocabulary; empty if it is."""
        self.only_losses = False
        """Whether the candidate reports only the log-probabilities of given tokens."""
        self.window_losses: list[Values] = []
        """For each window, the log-loss at each position."""
        self.worst: list[WorstPlace] = []
        """The places with the largest KL divergences, the largest first."""
        self.units: Sequence[int] = ()
        """The unit of uncertainty of each window, in order; empty if each window is a unit."""

    def compare(self, parts: Sequence[Scores]) -> Scores:
        """Join the scores of a window's blocks, add them, and return them."""
        scores = Scores(*map(np.concatenate, zip(*parts, strict=True)))
        self.scores.append(scores)
        return scores

    def note_worst(self, window: Window, first: int, kld: Values, reference: Rows, candidate: Rows) -> None:
        """Keep the worst places. `first` is the position of the first row."""
        for at in np.argsort(-kld)[:WORST].tolist():
            if len(self.worst) == WORST and kld[at] <= self.worst[-1].kld:
                return
            tops = (_likely(rows[at : at + 1]) for rows in (reference, candidate))
            self.worst.append(WorstPlace(float(kld[at]), window, first + at, *tops))
            self.worst.sort(key=lambda place: -place.kld)
            del self.worst[WORST:]

    def by_unit(self, windows: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the values of each unit from the values of each window, or of the windows measured so far."""
        return by_unit(zip(self.units or itertools.count(), windows, strict=False))

    @property
    def kld(self) -> list[Values]:
        return self.by_unit(scores.kld for scores in self.scores)

    @property
    def delta_p(self) -> list[Values]:
        return self.by_unit(scores.delta_p for scores in self.scores)

    @property
    def same_top(self) -> list[NDArray[Any]]:
        return self.by_unit(scores.same_top for scores in self.scores)

    @property
    def windows(self) -> int:
        """Number of measured windows, or of the conversations that the windows belong to."""
        return len(self.losses)

    @property
    def losses(self) -> list[Values]:
        return self.by_unit(self.window_losses)

    @property
    def perplexity(self) -> Estimate | None:
        return perplexity(self.losses)

    def bits_per_byte(self, size: int) -> Estimate | None:
        """Return the bits that the model needs for a byte of the text, whose UTF-8 has `size` bytes. It is the mean
        log-loss times the tokens per byte, and so is comparable between vocabularies."""
        loss = mean(self.losses)
        return None if loss is None else loss.scaled(self.tokens / size / math.log(2))

    @property
    def top_estimates(self) -> tuple[Estimate | None, Estimate | None]:
        """How often the top token is the same, and the mean share of the reference's top tokens that the candidate's
        top has."""
        same, common = zip(*self.top, strict=True) if self.top else ((), ())
        return mean(self.by_unit(same)), mean(self.by_unit(common))


_FEWEST = 11
"""Number of values below which llama-perplexity gives the uncertainty of a mean as 0."""


def mean_error(values: NDArray[Any]) -> float:
    """Return the error of a mean, √((E[x²] − E[x]²)/(n − 1)), which for a share is √(p·(1 − p)/(n − 1)). For the
    differences of two models' log-losses, this is the error of ln(PPL ratio), √(σq² + σp² − 2·c) with the covariance c."""
    return float(values.std()) / math.sqrt(values.size - 1) if values.size >= _FEWEST else 0.0


def independent_errors(measured: Measured) -> dict[str, paragone.Json]:
    """Return the errors by llama-perplexity's formulas, which assume independent positions, by name in JSON. The error
    of a root mean square is σ(x²)/(2·√E[x²]), where σ(x²) is the error of E[x²]. None if nothing was compared."""
    if not measured.scores:
        return dict.fromkeys(("mean_kld", "mean_dp", "rms_dp", "top1_agreement"))
    delta_p = flat(measured.delta_p)
    root = math.sqrt(float((delta_p**2).mean()))
    return {
        "mean_kld": mean_error(flat(measured.kld)),
        "mean_dp": mean_error(delta_p),
        "rms_dp": mean_error(delta_p**2) / (2 * root) if root else 0.0,
        "top1_agreement": mean_error(flat(measured.same_top)),
    }
