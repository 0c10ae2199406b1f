"""Discovery imports no library of an engine or of HTTP, and a missing one is reported in a sentence."""

import importlib.metadata
import subprocess
import sys

import pytest

from paragone import EngineError, OpenRequest
from paragone.discovery import discover
from paragone.texts import install_command


@pytest.mark.thorough
def test_discovery_imports_no_library():
    code = (
        "import sys; from paragone.discovery import discover; from paragone.options import describe\n"
        "for name in ('ollama', 'openai', 'llama_cpp'):\n"
        "    (backend,) = discover(name).backends.values()\n"
        "    describe(backend.load_options); describe(backend.sampling)\n"
        "backend.find_models(['/nowhere'])\n"
        "import paragone_llama_cpp.demo\n"
        "libraries = {'httpx', 'httpx_sse', 'certifi', 'llama_cpp', 'xllamacpp', 'numpy', 'jinja2'}\n"
        "print(*sorted(libraries & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(("name", "missing"), [("ollama", "httpx"), ("openai", "httpx-sse")])
async def test_a_missing_http_library_is_reported(name, missing, monkeypatch):
    def version(package):
        if package == missing:
            raise importlib.metadata.PackageNotFoundError(missing)
        return "1"

    monkeypatch.setattr("paragone_remote.backend.version", version)
    monkeypatch.setitem(sys.modules, missing.replace("-", "_"), None)  # as if it were not there
    backend = discover(name).backends[name]
    probe = await backend.probe()
    assert (probe.usable, probe.reason) == (False, f"The package {missing} is not installed.")
    assert install_command("remote") in probe.remedy
    options = {"url": "http://127.0.0.1:1"}
    assert not (await backend.endpoint(options)).probe.usable
    with pytest.raises(EngineError) as caught:
        await backend.open(OpenRequest(model="m", options=options), lambda progress: None)
    assert install_command("remote") in caught.value.hint
