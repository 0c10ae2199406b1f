"""The class with all checks: checks on which others depend come first."""

from __future__ import annotations

import pytest

from paragone.testing.checks.answers import AnswerChecks
from paragone.testing.checks.declarations import DeclarationChecks
from paragone.testing.checks.distributions import DistributionChecks
from paragone.testing.checks.embeddings import EmbeddingChecks
from paragone.testing.checks.estimating import EstimateChecks
from paragone.testing.checks.loading import LoadingChecks
from paragone.testing.checks.opening import OpeningChecks
from paragone.testing.checks.probabilities import ProbabilityChecks
from paragone.testing.checks.refusals import RefusalChecks
from paragone.testing.checks.run_settings import ReportChecks
from paragone.testing.checks.scoring import ScoreChecks
from paragone.testing.checks.stopping import StoppingChecks
from paragone.testing.checks.top_tokens import TopTokensChecks


@pytest.mark.asyncio(loop_scope="class")
class BackendConformance(
    DeclarationChecks,
    EstimateChecks,
    OpeningChecks,
    LoadingChecks,
    ReportChecks,
    AnswerChecks,
    ProbabilityChecks,
    ScoreChecks,
    DistributionChecks,
    TopTokensChecks,
    EmbeddingChecks,
    RefusalChecks,
    StoppingChecks,
):
    """Tests of what every backend must do. Subclass `BackendConformance` and override the fixtures `backend` and `opening`.

    If answers are slow or short by default, also override `sampling`, `long_sampling`, `patience`
    and `grace`. A method whose capability the backend lacks must raise an EngineError.
    """
