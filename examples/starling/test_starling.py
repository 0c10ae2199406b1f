"""The conformance suite, with a text as the model."""

import pytest
from paragone_starling.plugin import StarlingBackend

from paragone import OpenRequest
from paragone.testing import BackendConformance


class TestStarling(BackendConformance):
    @pytest.fixture
    def backend(self):
        return StarlingBackend()

    @pytest.fixture
    def opening(self, tmp_path):
        model = tmp_path / "sturnus.starling"
        model.write_text("the bird in the hand heard the other birds that sang in the bush there")
        return OpenRequest(model=str(model))

    @pytest.fixture
    def long_sampling(self):
        return {"max_tokens": 30_000}
