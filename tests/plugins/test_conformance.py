"""The conformance suite passes on correct backends: a plain one, and one with a worker."""

from dataclasses import replace

import pytest
from flawed_backends.loading import CorrectLoading
from flawed_backends.probabilities import noisy
from polite_backend import PoliteBackend, PoliteEngine
from rogue_backend.plugin import RogueBackend

from paragone import Backend, Capabilities, Finish, OpenEngine, OpenRequest, Token
from paragone.testing import BackendConformance


class TestPolite(BackendConformance):
    @pytest.fixture
    def backend(self):
        return PoliteBackend()

    @pytest.fixture
    def opening(self):
        return OpenRequest(model="words")


class Modest(PoliteBackend):
    """A backend without optional capabilities: it can only answer."""

    capabilities = Capabilities()
    estimate = Backend.estimate

    def reaches(self, model, options):
        return ("models.example:443",)

    class engine(PoliteEngine):
        def token(self, word, top, at, row):
            return super().token(word, None, at, row)

        def settings(self, sampling, words, ids):
            return ()

        tokenize = OpenEngine.tokenize
        score = OpenEngine.score
        distributions = OpenEngine.distributions
        top_tokens = OpenEngine.top_tokens
        embed = OpenEngine.embed
        vocabulary = OpenEngine.vocabulary


class TestModest(TestPolite):
    @pytest.fixture
    def backend(self):
        return Modest()


class TestLoading(TestPolite):
    @pytest.fixture
    def backend(self):
        return CorrectLoading()


class ByModel(PoliteBackend):
    """A backend whose engine has fewer capabilities than the backend, and reports its own."""

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        engine.loaded = replace(engine.loaded, capabilities=Capabilities(local=True, tokenize=True))
        return engine

    class engine(Modest.engine):
        tokenize = PoliteEngine.tokenize


class TestByModel(TestPolite):
    @pytest.fixture
    def backend(self):
        return ByModel()


class Noisy(PoliteBackend):
    """A backend whose results depend on the batch size, like those of real engines."""

    class engine(PoliteEngine):
        def logits(self, before, batch=0):
            logits = super().logits(before, batch)
            return [logit + noisy((*before, token), batch) for token, logit in enumerate(logits)]


class TestNoisy(TestPolite):
    @pytest.fixture
    def backend(self):
        return Noisy()


class Terse(PoliteBackend):
    """A backend whose model ends its answers after one or two words."""

    class engine(PoliteEngine):
        async def run(self, request):
            words = 2
            async for event in super().run(request):
                if isinstance(event, Token):
                    words -= 1
                if words < 0:
                    yield Finish(reason="stop", time=self.now())
                    return
                yield event


class TestTerse(TestPolite):
    @pytest.fixture
    def backend(self):
        return Terse()

    @pytest.fixture
    def long_sampling(self):
        pytest.skip("no answer is long")


class TestRogue(BackendConformance):
    """The rogue backend with its well-behaved model."""

    @pytest.fixture
    def backend(self):
        return RogueBackend()

    @pytest.fixture
    def opening(self):
        return OpenRequest(model="steady")

    @pytest.fixture
    def long_sampling(self):
        return {"max_tokens": 10**6, "rate": 200}
