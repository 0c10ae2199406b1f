"""Discovery imports no client library, and a missing one is reported in a sentence."""

import importlib.metadata
import subprocess
import sys

import pytest

from paragone import EngineError, OpenRequest
from paragone.discovery import discover
from paragone.installation import install_command


@pytest.mark.parametrize("name", ["ollama", "openai"])
def test_discovery_imports_no_client(name):
    code = (
        "import sys; from paragone.discovery import discover; from paragone.options import describe\n"
        f"(backend,) = discover({name!r}).backends.values()\n"
        "describe(backend.load_options); describe(backend.sampling)\n"
        "print(*sorted({'httpx', 'ollama', 'openai', 'pydantic', 'certifi'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["ollama", "openai"])
async def test_a_client_that_is_not_installed(name, monkeypatch):
    real = importlib.metadata.version

    def version(package):
        if package == name:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(package)

    monkeypatch.setattr("paragone_remote.client_libraries.version", version)
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    backend = discover(name).backends[name]
    probe = await backend.probe()
    assert not probe.usable
    assert probe.reason == f"The package {name} is not installed."
    assert install_command("remote") in probe.remedy
    report = await backend.endpoint({"url": "http://127.0.0.1:1"})
    assert not report.probe.usable
    with pytest.raises(EngineError) as caught:
        await backend.open(
            OpenRequest(model="m", options={"url": "http://127.0.0.1:1"}), lambda progress: None
        )
    assert install_command("remote") in caught.value.hint
