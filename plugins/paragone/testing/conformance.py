"""All checks, in the order in which their failures are best read."""

from __future__ import annotations

import pytest

from paragone.testing.declared import DeclarationChecks
from paragone.testing.distributions import DistributionChecks
from paragone.testing.estimating import EstimateChecks
from paragone.testing.opening import OpeningChecks
from paragone.testing.probabilities import ProbabilityChecks
from paragone.testing.refusals import RefusalChecks
from paragone.testing.reported import ReportChecks
from paragone.testing.scoring import ScoreChecks
from paragone.testing.stopping import StoppingChecks

__all__ = ["BackendConformance"]


@pytest.mark.asyncio(loop_scope="class")
class BackendConformance(
    DeclarationChecks,
    EstimateChecks,
    OpeningChecks,
    ReportChecks,
    ProbabilityChecks,
    ScoreChecks,
    DistributionChecks,
    RefusalChecks,
    StoppingChecks,
):
    """What every backend must do. Subclass it and override the fixtures `backend` and `opening`.

    Where answers are slow or short by default, override `sampling` and `long_sampling` too, and
    `patience` and `grace`. What a backend's capabilities do not claim is not asked of it, but it
    must say that it cannot.
    """
