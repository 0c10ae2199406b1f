"""The conformance suite passes on correct backends; tests/docs/test_plugins_page.py has those in `examples`."""

from dataclasses import replace

import pytest
from flawed_backends import LoadingBackend
from flawed_engines import NoisyEngine
from polite_backend import PoliteBackend, PoliteEngine

from paragone import Capabilities, Finish, OpenEngine, OpenRequest, Token
from paragone.testing import BackendConformance


class Noisy(LoadingBackend):
    """A backend whose results depend on the batch size, like those of real engines, and whose server loads models."""

    class engine(LoadingBackend.engine, NoisyEngine):
        pass


class TestNoisy(BackendConformance):
    @pytest.fixture
    def backend(self):
        return Noisy()

    @pytest.fixture
    def opening(self):
        return OpenRequest(model="words")


class ByModel(PoliteBackend):
    """A backend whose engine has fewer capabilities than the backend, and ends its answers after one or two words."""

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        engine.loaded = replace(engine.loaded, capabilities=Capabilities(local=True, tokenize=True))
        return engine

    class engine(PoliteEngine):
        def token(self, word, top, at, row):
            return super().token(word, None, at, row)

        def settings(self, sampling, words, ids):
            return ()

        score = OpenEngine.score
        distributions = OpenEngine.distributions
        top_tokens = OpenEngine.top_tokens
        embed = OpenEngine.embed
        vocabulary = OpenEngine.vocabulary

        async def run(self, request):
            words = 2
            async for event in super().run(request):
                if isinstance(event, Token):
                    words -= 1
                if words < 0:
                    yield Finish(reason="stop", time=self.now())
                    return
                yield event


class TestByModel(TestNoisy):
    @pytest.fixture
    def backend(self):
        return ByModel()

    @pytest.fixture
    def long_sampling(self):
        pytest.skip("no answer is long")
