"""Fixtures for ExLlamaV2 and ExLlamaV3: model folders, interpreters without a GPU, library sources."""

import asyncio
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.worker_forks import ForkServer, can_fork_workers, is_worker

from paragone import Finish, Message, RunRequest, ScoreRequest, Token

HERE = Path(__file__).parent
STAND_IN = HERE / "stand_in"
CACHE = Path(os.environ.get("PARAGONE_TEST_CACHE", Path.home() / ".cache" / "paragone-tests"))
ENVIRONMENT = dict(os.environ)
"""The environment variables before tests change them."""

WHEELS = {"exllamav2": "exllamav2==0.3.2", "exllamav3": "exllamav3==1.6.5"}

NVML = """
#include <stdio.h>
#include <string.h>
/* Stands in for NVIDIA's NVML: says what is in the file ANSWERS at each initialization. */
typedef struct { unsigned long long total, free, used; } memory;
static char version[80];
static int cuda, gpus, init = 9, major, tells;
static unsigned long long unused;
int nvmlInit_v2(void) {
  FILE *file = fopen(ANSWERS, "r");
  int read = fscanf(file, "%79s %d %d %d %llu %d %d", version, &cuda, &gpus, &init, &unused, &major, &tells);
  fclose(file); return read == 7 ? init : 9; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *number) { *number = cuda; return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, version, length); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = gpus; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) { *gpu = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **gpu) { *gpu = (void *)9; return strcmp(uuid, "MIG-cccc") ? 6 : 0; }
int nvmlDeviceGetCudaComputeCapability(void *gpu, int *first, int *second) {
  if (gpu == (void *)9) return 3; *first = major; *second = 5; return 0; }
int nvmlDeviceGetName(void *gpu, char *text, unsigned length) {
  strncpy(text, gpu == (void *)9 ? "Paper GPU 1g.5gb" : "Paper GPU", length); return 0; }
int nvmlDeviceGetUUID(void *gpu, char *text, unsigned length) {
  strncpy(text, gpu == (void *)1 ? "GPU-aaaa" : "GPU-bbbb", length); return 0; }
int nvmlDeviceGetMemoryInfo(void *gpu, memory *m) {
  if (!tells) return 3; m->total = (gpu == (void *)9 ? 5ull : 24ull) << 30; m->free = unused; m->used = 0; return 0; }
"""


def load(name):
    """Import a module from this folder under the name `exllama_NAME`."""
    spec = importlib.util.spec_from_file_location(f"exllama_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


model_folder = load("model_folder")


@pytest.fixture(scope="session")
def write_model():
    return model_folder.write_model


@pytest.fixture(scope="session")
def compiled_driver(tmp_path_factory):
    """The folder of a double of the NVIDIA driver; the file `answers` there is what it says."""
    compiler = shutil.which("cc", path=ENVIRONMENT.get("PATH"))
    if compiler is None:
        pytest.skip("there is no C compiler for the double of the NVIDIA driver")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "nvml.c").write_text(NVML)
    command = [compiler, "-shared", "-fPIC", f'-DANSWERS="{folder / "answers"}"', "-o", "libnvidia-ml.so.1"]
    subprocess.run([*command, "nvml.c"], cwd=folder, check=True, env=ENVIRONMENT)
    return folder


@pytest.fixture
def driver(compiled_driver, monkeypatch):
    """A function that sets up a double of the NVIDIA driver with given answers for the programs that a test starts."""

    def make(*, version="575.57.08", cuda=12090, gpus=1, init=0, free=20 << 30, major=8, tells=1):
        answers = f"{version} {cuda} {gpus} {init} {free} {major} {tells}"
        (compiled_driver / "answers").write_text(answers)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(compiled_driver))

    return make


class Interpreter:
    """A virtual environment for test doubles, copied from an empty one."""

    def __init__(self, folder, empty):
        shutil.copytree(empty, folder, symlinks=True)
        self.python = str(folder / "bin" / "python")
        self.site = next(folder.glob("lib/python*/site-packages"))

    def add_stand_ins(self):
        """Make the stand-ins and the real Jinja importable."""
        (self.site / "stand_in.pth").write_text(f"{STAND_IN}\n")
        for name in ("jinja2", "markupsafe"):
            spec = importlib.util.find_spec(name)
            (self.site / name).symlink_to(Path(spec.origin).parent)

    def add(self, path, text=""):
        file = self.site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def clear(self):
        """Remove everything that was added."""
        shutil.rmtree(self.site)
        self.site.mkdir()


@pytest.fixture(scope="session")
def empty_environment(tmp_path_factory):
    """A virtual environment without pip."""
    folder = tmp_path_factory.mktemp("empty") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def shared_bare_interpreter(empty_environment, tmp_path_factory):
    return Interpreter(tmp_path_factory.mktemp("bare") / "env", empty_environment)


@pytest.fixture
def bare_interpreter(shared_bare_interpreter):
    """An interpreter with nothing but what the test adds."""
    yield shared_bare_interpreter
    shared_bare_interpreter.clear()


@pytest.fixture(scope="session")
def interpreter(empty_environment, tmp_path_factory):
    """An interpreter with the stand-ins of PyTorch and both libraries."""
    pytest.importorskip("jinja2")
    made = Interpreter(tmp_path_factory.mktemp("stand-in") / "env", empty_environment)
    made.add_stand_ins()
    return made.python


class InterpreterForks:
    """Starts the workers of other interpreters as forks: one process that forks for each, and for each double of the driver.

    The path of the driver is a variable that a process reads once, at its start.
    """

    def __init__(self):
        self.servers = {}
        self.start_program = asyncio.create_subprocess_exec

    async def start(self, *command, **settings):
        interpreter = command[0]
        if interpreter == sys.executable or not is_worker(command, interpreter):
            return await self.start_program(*command, **settings)
        key = interpreter, settings["env"].get("LD_LIBRARY_PATH")
        if key not in self.servers:
            self.servers[key] = ForkServer.launch(interpreter, settings["env"], "paragone_exllama.engine")
        return await self.servers[key].start(*command, **settings)

    def close(self):
        for server in self.servers.values():
            server.close()


@pytest.fixture(scope="session")
def interpreter_forks():
    forks = InterpreterForks()
    yield forks
    forks.close()


@pytest.fixture(autouse=True)
def forked_interpreters(request, monkeypatch, forked_workers):
    fixtures = set(request.fixturenames)
    if (
        can_fork_workers()
        and fixtures & {"interpreter", "bare_interpreter"}
        and "new_interpreters" not in fixtures
    ):
        forks = request.getfixturevalue("interpreter_forks")
        monkeypatch.setattr(asyncio, "create_subprocess_exec", forks.start)


@pytest.fixture(scope="session")
def kept():
    """A folder outside the repository that is kept between test runs."""
    return CACHE


@pytest.fixture(scope="session")
def sources():
    """A function that returns the folder with the real sources of a library, from its downloaded wheel."""

    def unpacked(library):
        folder = CACHE / WHEELS[library]
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:  # tests run in several processes
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / library / "__init__.py").exists():
                wheel = _fetch(library)
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(folder)
        return folder

    return unpacked


def _fetch(library):
    tried = []
    for python in (sys.executable, shutil.which("python3")):
        if python is None:
            continue
        command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--retries=1", "-d", str(CACHE), WHEELS[library]]
        environment = {key: value for key, value in ENVIRONMENT.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, env=environment
        )
        if done.returncode == 0:
            return next(CACHE.glob(f"{library}-*.whl"))
        tried.append(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason given")
    pytest.skip(f"the wheel of {WHEELS[library]} cannot be fetched here ({tried[-1]})")


class Chat:
    """Short methods to use an engine that is open in a worker."""

    def __init__(self, engine):
        self.engine = engine
        self.loaded = engine.loaded

    async def events(self, prompt, *, logprobs=None, cold=False, **sampling):
        messages = [Message(role="user", text=prompt)] if isinstance(prompt, str) else prompt
        request = RunRequest(
            messages=tuple(messages), sampling={"seed": 1, **sampling}, logprobs=logprobs, cold=cold
        )
        return [event async for event in self.engine.run(request)]

    async def ask(self, prompt, **options):
        """Return the text of the answer, the tokens and the Finish."""
        events = await self.events(prompt, **options)
        tokens = [event for event in events if isinstance(event, Token)]
        assert isinstance(events[-1], Finish)
        return "".join(token.text for token in tokens if token.channel == "answer"), tokens, events[-1]

    async def score(self, text, **options):
        """Return the tokens of a text with their log-probabilities."""
        events = self.engine.score(ScoreRequest(text=text, **options))
        return [event async for event in events if isinstance(event, Token)]


@pytest.fixture
def chat():
    return Chat
