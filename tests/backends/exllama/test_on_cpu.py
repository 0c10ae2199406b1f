"""The real ExLlamaV2 on the CPU, through its adapter, in a worker: see on_cpu/exllamav2_on_cpu.py.

It is taken from the environment that `paragone env create` made, or from the interpreter that
PARAGONE_EXLLAMAV2_PYTHON names; without one whose extension was compiled here, nothing is tested.
"""

import contextlib
import math
import operator
import os
import re
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest
from exllama_model_folder import write_lora

from paragone import Message, OpenRequest, RunRequest, ScoreRequest, Token
from paragone.testing import BackendConformance
from paragone_exllama.backend import ExLlamaV2Backend
from paragone_workbench.paths import data_folder

SHIM = Path(__file__).with_name("on_cpu")
PYTHON = Path(
    os.environ.get(
        "PARAGONE_EXLLAMAV2_PYTHON", data_folder() / "environments" / "exllamav2" / "bin" / "python"
    )
)
PACKAGES = next(PYTHON.parent.parent.glob("lib/python3*/site-packages"), PYTHON)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
EXTENSIONS = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or CACHE / "torch_extensions")
BUILT = next(
    (
        plan.parent
        for plan in EXTENSIONS.rglob("exllamav2_ext/build.ninja")
        if str(PACKAGES) in plan.read_text() and plan.with_name("exllamav2_ext.so").exists()
    ),
    None,
)
"""Where its extension was compiled; all of this is found out before any test has another home."""


if BUILT is None:
    pytest.skip(f"the extension of ExLlamaV2 was not compiled here for {PYTHON}", allow_module_level=True)


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    """Return an interpreter like the environment's, in which the library computes on the CPU."""
    folder = tmp_path_factory.mktemp("on-cpu") / "env"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder], check=True)
    (folder / "bin" / "ninja").symlink_to(PACKAGES.parents[2] / "bin" / "ninja")
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "on_cpu.pth").write_text(
        f"import site; site.addsitedir({str(PACKAGES)!r})\n{SHIM}\n"
        "import exllamav2_on_cpu; exllamav2_on_cpu.install()\n"
    )
    return str(folder / "bin" / "python")


@pytest.fixture(autouse=True)
def as_it_was_compiled(monkeypatch, driver):
    """Have the extension found, and not compiled anew for other GPUs."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(BUILT.parent))
    codes = re.findall(r"arch=compute_(\d+)(\d),code=(sm|compute)", (BUILT / "build.ninja").read_text())
    exact = sorted({f"{major}.{minor}" for major, minor, kind in codes if kind == "sm"})
    ptx = {f"{major}.{minor}" for major, minor, kind in codes if kind == "compute"}
    monkeypatch.setenv(
        "TORCH_CUDA_ARCH_LIST", ";".join(f"{arch}+PTX" if arch in ptx else arch for arch in exact)
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    driver(version="580.65.06", cuda=13000)


class OnCpu(BackendConformance):
    options: ClassVar[dict] = {}
    patience = 120.0

    @pytest.fixture
    def backend(self):
        return ExLlamaV2Backend()

    @pytest.fixture
    def opening(self, on_cpu, write_model, tmp_path_factory):
        folder = tmp_path_factory.mktemp("models")
        options = {"max_seq_len": 2048} | self.options
        if "draft_tokens" in options:
            options["draft_model"] = str(write_model(folder / "draft", real=True))
        return OpenRequest(model=str(write_model(folder / "tiny", real=True)), options=options, python=on_cpu)

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 24, "seed": 1}

    @pytest.fixture
    def long_sampling(self):
        return {"max_tokens": 1000, "seed": 1}


class TestExLlamaV2OnCpu(OnCpu):
    async def test_no_token_sees_those_after_it(self, engine):
        """Without flash-attn, 0.3.2 forgets the causal mask: what the adapter puts in its place is at work."""
        short, long = "The sea is deep, ", "The sea is deep, and the sky is high above it"
        first = await engine.score(ScoreRequest(text=short))
        second = await engine.score(ScoreRequest(text=long))
        assert len(second) > len(first) > 10
        for one, other in zip(first, second, strict=False):
            assert one.id == other.id
            assert one.logprob == pytest.approx(other.logprob, abs=0.02)


class TestExLlamaV2OnCpuWithADraftModel(OnCpu):
    options: ClassVar = {"draft_tokens": 3, "chunk_size": 256}


class TestExLlamaV2OnCpuWithNgrams(OnCpu):
    options: ClassVar = {"draft_ngram": True, "gpu_split": [20]}


TEXT = "The sea is deep, and the sky is high above it"


@pytest.fixture
def opened(on_cpu, write_model, tmp_path):
    """Open the model with options."""

    @contextlib.asynccontextmanager
    async def opening(**options):
        # YaRN takes effect beyond the model's own context only.
        folder = write_model(tmp_path / "tiny", real=True, max_position_embeddings=512)
        request = OpenRequest(model=str(folder), options={"max_seq_len": 1024} | options, python=on_cpu)
        engine = await ExLlamaV2Backend().open(request, lambda progress: None)
        try:
            yield engine
        finally:
            await engine.close()

    return opening


async def test_what_changes_the_model_takes_effect(opened, tmp_path):
    write_lora(tmp_path / "lora")

    async def scores(**options):
        async with opened(**options) as engine:
            return [token.logprob for token in await engine.score(ScoreRequest(text=TEXT))]

    plain = await scores()
    for options in (
        {"rope_scale": 4.0},
        {"rope_alpha": 8.0},
        {"rope_yarn": 8.0},
        {"lora": str(tmp_path / "lora"), "lora_scale": 20.0},
    ):
        assert max(map(abs, map(operator.sub, plain, await scores(**options)))) > 0.01, options
    split = await scores(gpu_split=[20.0], chunk_size=256)
    assert split == pytest.approx(plain, abs=0.02)


async def test_the_sampler_does_what_the_options_say(opened):
    async with opened() as engine:

        async def tokens(**sampling):
            request = RunRequest(
                messages=(Message(role="user", text=TEXT),),
                sampling={"max_tokens": 40, "seed": 1} | sampling,
                logprobs=8,
            )
            return [
                event for event in [event async for event in engine.run(request)] if isinstance(event, Token)
            ]

        greedy = await tokens(temperature=0)
        assert all(token.id == token.top[0].id for token in greedy)
        assert len({token.id for token in greedy}) < 20  # it repeats itself
        penalized = await tokens(temperature=0, presence_penalty=2.0, frequency_penalty=2.0)
        assert len({token.id for token in penalized}) > 30
        # Log-probabilities are the model's, whatever the penalties made of them.
        assert any(token.id != token.top[0].id for token in penalized)
        few = await tokens(temperature=2.0, top_k=3, top_p=1.0, min_p=0.0)
        assert all(token.id in [other.id for other in token.top[:3]] for token in few)
        assert any(token.id != token.top[0].id for token in few)
        # What is unlikely is left out before the temperature makes it likelier.
        likely = await tokens(temperature=5.0, top_k=0, top_p=1.0, min_p=0.5)
        assert all(token.logprob >= token.top[0].logprob + math.log(0.5) - 0.01 for token in likely)
        assert [token.id for token in await tokens(seed=5)] == [token.id for token in await tokens(seed=5)]
