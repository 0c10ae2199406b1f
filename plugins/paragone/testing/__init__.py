"""The conformance suite: tests of what every backend must do. The author of a backend runs these tests.

Needs pytest, and pytest-asyncio in either of its modes. Derive a class from `BackendConformance` in a test module
of the backend; docs/plugins.md has an example.

The tests of the derived class share one open engine and one event loop: declare your asynchronous fixtures with
`pytest_asyncio.fixture(loop_scope="class")`. A fixture with `scope="class"` must be a `classmethod`.
"""

import pytest

# Register the modules before they are imported, so that a failed assertion shows the compared values.
for _module in ("answers", "opening", "probabilities", "runs"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from paragone.testing import answers, opening, probabilities  # noqa: E402

__all__ = ["BackendConformance"]


@pytest.mark.asyncio(loop_scope="class")
class BackendConformance(probabilities.ProbabilityChecks, answers.AnswerChecks, opening.OpeningChecks):
    """Tests of what every backend must do. pytest runs the tests of the last base class first.

    Subclass `BackendConformance` and override the fixtures `backend` and `opening`.

    If answers are slow or short by default, also override `sampling`, `long_sampling`, `patience`
    and `grace`. A method whose capability the backend lacks must raise an EngineError.
    """
