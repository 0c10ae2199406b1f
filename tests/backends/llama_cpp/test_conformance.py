"""The conformance suite on the real model, in a real worker."""

import pytest

from paragone import OpenRequest
from paragone.testing import BackendConformance
from paragone_llama_cpp.backend import LlamaCppBackend


@pytest.mark.model
class TestLlamaCpp(BackendConformance):
    @pytest.fixture
    def backend(self):
        return LlamaCppBackend()

    @pytest.fixture
    def opening(self, model_path):
        return OpenRequest(model=model_path, options={"n_ctx": 1024}, threads=1)

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 12}
