"""The class with all checks: checks on which others depend come first."""

from __future__ import annotations

import pytest

from paragone.testing import opening
from paragone.testing.answers import AnswerChecks, RefusalChecks, ReportChecks, StoppingChecks
from paragone.testing.probabilities import DistributionChecks, ProbabilityChecks, ScoreChecks, TopTokensChecks


@pytest.mark.asyncio(loop_scope="class")
class BackendConformance(
    opening.DeclarationChecks,
    opening.EstimateChecks,
    opening.OpeningChecks,
    opening.LoadingChecks,
    ReportChecks,
    AnswerChecks,
    ProbabilityChecks,
    ScoreChecks,
    DistributionChecks,
    TopTokensChecks,
    opening.EmbeddingChecks,
    RefusalChecks,
    StoppingChecks,
):
    """Tests of what every backend must do. Subclass `BackendConformance` and override the fixtures `backend` and `opening`.

    If answers are slow or short by default, also override `sampling`, `long_sampling`, `patience`
    and `grace`. A method whose capability the backend lacks must raise an EngineError.
    """
