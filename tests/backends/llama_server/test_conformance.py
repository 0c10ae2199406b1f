"""The conformance suite on llama-servers with the real model."""

import pytest

from paragone import OpenRequest
from paragone.testing import BackendConformance
from paragone_remote.llama_server.backend import LlamaServerBackend


class TestWheel(BackendConformance):
    @pytest.fixture
    def llama_server(self, wheel):
        return wheel

    @pytest.fixture
    def backend(self, llama_server, tmp_path, monkeypatch):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "llama-server").symlink_to(llama_server)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")  # `probe` looks there
        return LlamaServerBackend()

    @pytest.fixture
    def opening(self, smollm2, llama_server, small):
        return OpenRequest(model=str(smollm2), options={"program": llama_server, **small})

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 12}


class TestBuilt(TestWheel):
    @pytest.fixture
    def llama_server(self, built):
        return built
