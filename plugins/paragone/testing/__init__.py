"""The conformance suite: what every backend must do, as tests that its author runs.

Needs pytest and pytest-asyncio, of any mode. In a test module of the backend's:

    from paragone.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def backend(self):
            return MyBackend()

        @pytest.fixture
        def opening(self):
            return OpenRequest(model="…")

The tests of such a class share one open engine and one event loop: fixtures of yours that are
asynchronous need `pytest_asyncio.fixture(loop_scope="class")`.
"""

import pytest

# Before they are imported, so that a failed check shows what it compared.
_MODULES = ("asking", "noise", "declared", "estimating", "opening", "answers", "reported", "probabilities")
for _module in (*_MODULES, "scoring", "distributions", "refusals", "stopping"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from paragone.testing.conformance import BackendConformance  # noqa: E402

__all__ = ["BackendConformance"]
