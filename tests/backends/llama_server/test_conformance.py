"""The conformance suite on llama-servers with the real model."""

import pytest

from paragone import OpenRequest
from paragone.testing import BackendConformance
from paragone_remote.backend import LlamaServerBackend


class TestWheel(BackendConformance):
    @pytest.fixture
    def backend(self, wheel, tmp_path, monkeypatch):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "llama-server").symlink_to(wheel)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")  # `probe` looks there
        return LlamaServerBackend()

    @pytest.fixture
    def opening(self, smollm2, wheel, small):
        return OpenRequest(model=str(smollm2), options={"program": wheel, **small})

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 12}
