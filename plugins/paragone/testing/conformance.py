"""All checks, in the order in which their failures are best read."""

from __future__ import annotations

import pytest

from paragone.testing.answers import AnswerChecks
from paragone.testing.declared import DeclarationChecks
from paragone.testing.opening import OpeningChecks
from paragone.testing.probabilities import ProbabilityChecks
from paragone.testing.refusals import RefusalChecks
from paragone.testing.stopping import StoppingChecks

__all__ = ["BackendConformance"]


@pytest.mark.asyncio(loop_scope="class")
class BackendConformance(
    DeclarationChecks, OpeningChecks, AnswerChecks, ProbabilityChecks, RefusalChecks, StoppingChecks
):
    """What every backend must do. Subclass it and override the fixtures `backend` and `opening`.

    Where answers are slow or short by default, override `sampling` and `long_sampling` too, and
    `patience` and `grace`. What a backend's capabilities do not claim is not asked of it, but it
    must say that it cannot.
    """
