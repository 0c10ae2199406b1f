"""The conformance suite passes on backends that behave: a plain one, and one whose engine runs in a worker."""

import pytest
from polite_backend import PoliteBackend, PoliteEngine
from rogue_backend.plugin import RogueBackend

from paragone import Capabilities, OpenEngine, OpenRequest
from paragone.testing import BackendConformance


class TestPolite(BackendConformance):
    @pytest.fixture
    def backend(self):
        return PoliteBackend()

    @pytest.fixture
    def opening(self):
        return OpenRequest(model="words")


class Modest(PoliteBackend):
    """A backend that could, but claims nothing."""

    capabilities = Capabilities()

    class engine(PoliteEngine):
        def token(self, word, top, at):
            return super().token(word, None, at)

        count = OpenEngine.count
        score = OpenEngine.score


class TestModest(TestPolite):
    @pytest.fixture
    def backend(self):
        return Modest()


class TestRogue(BackendConformance):
    """The rogue backend's one model without a vice."""

    @pytest.fixture
    def backend(self):
        return RogueBackend()

    @pytest.fixture
    def opening(self):
        return OpenRequest(model="steady")

    @pytest.fixture
    def long_sampling(self):
        return {"max_tokens": 10**6, "rate": 200}
