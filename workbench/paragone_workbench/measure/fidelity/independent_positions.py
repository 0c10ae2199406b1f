"""Standard errors as llama-perplexity computes errors: as if the scored positions were independent.

The positions of a window are not independent, so these errors are too small, often by a factor of about three. The JSON
has these errors beside the errors over windows, for comparisons with measurements of llama-perplexity. The formulas come
from llama.cpp's tools/perplexity/perplexity.cpp.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from paragone import Json
from paragone_workbench.measure.fidelity.measured import Difference
from paragone_workbench.statistics.numeric import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FEWEST = 11
"""Number of values below which llama-perplexity gives the uncertainty of a mean as 0."""


def mean_error(values: NDArray[Any]) -> float:
    """Return the error of a mean, √((E[x²] − E[x]²)/(n − 1)), which for a share is √(p·(1 − p)/(n − 1)).

    For the differences of two models' log-losses, this is the error of ln(PPL ratio), √(σq² + σp² − 2·c) with the covariance c.
    """
    return float(values.std()) / math.sqrt(values.size - 1) if values.size >= _FEWEST else 0.0


def perplexity_error(losses: Values) -> float:
    """Return the error of a perplexity, PPL·σ, where σ is the error of the mean log-loss."""
    return math.exp(float(losses.mean())) * mean_error(losses)


def root_mean_square_error(values: Values) -> float:
    """Return the error of a root mean square, σ(x²)/(2·√E[x²]), where σ(x²) is the error of E[x²]."""
    squares = values**2
    root = math.sqrt(float(squares.mean()))
    return mean_error(squares) / (2 * root) if root else 0.0


def difference_errors(difference: Difference) -> dict[str, Json]:
    """Return the errors of a difference's figures, by name in JSON; None for each if no window was compared."""
    if not difference.windows:
        return dict.fromkeys(("mean_kld", "mean_dp", "rms_dp", "top1_agreement"))
    return {
        "mean_kld": mean_error(difference.kld),
        "mean_dp": mean_error(difference.delta_p),
        "rms_dp": root_mean_square_error(difference.delta_p),
        "top1_agreement": mean_error(difference.same_top),
    }
