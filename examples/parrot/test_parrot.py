"""The conformance suite, with a model of six words."""

import pytest
from paragone_parrot.plugin import ParrotBackend

from paragone import OpenRequest
from paragone.testing import BackendConformance


class TestParrot(BackendConformance):
    @pytest.fixture
    def backend(self):
        return ParrotBackend()

    @pytest.fixture
    def opening(self, tmp_path):
        model = tmp_path / "polly.parrot"
        model.write_text("a pretty bird wants a cracker")
        return OpenRequest(model=str(model))
