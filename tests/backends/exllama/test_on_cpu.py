"""The real libraries on the CPU, through their adapters, in workers.

See on_cpu/exllamav2_on_cpu.py and on_cpu/exllamav3_on_cpu.py. The libraries are taken from the
environments that `paragone env create` made, or from the interpreters in PARAGONE_EXLLAMAV2_PYTHON and
PARAGONE_EXLLAMAV3_PYTHON. A missing library, or an ExLlamaV2 whose extension is not compiled here, is
not tested.
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
from exllama_model_folder import SPECIAL, TINY, VOCAB, WORDS, write_lora

from paragone import (
    DistributionsRequest,
    Message,
    OpenRequest,
    RunRequest,
    Token,
    TokenizeRequest,
    fingerprint,
)
from paragone.testing import BackendConformance
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend
from paragone_exllama.exllama_options import ExLlamaV2LoadOptions
from paragone_exllama.model_folder import check_folder
from paragone_exllama.vram import v2_buffers
from paragone_workbench.paths import data_folder

BACKENDS = {"exllamav2": ExLlamaV2Backend, "exllamav3": ExLlamaV3Backend}
TEXT = "The sea is deep, and the sky is high above it"
SHIM = Path(__file__).with_name("on_cpu")


def _found(library):
    """Return a library's interpreter and the folder of its installed packages; None if there is none."""
    named = os.environ.get(f"PARAGONE_{library.upper()}_PYTHON")
    python = Path(named or data_folder() / "environments" / library / "bin" / "python")
    packages = next(python.parent.parent.glob("lib/python3*/site-packages"), None)
    there = python.exists() and packages is not None and (packages / library).exists()
    return (python, packages) if there else None


def _compiled(library):
    """Return the folder of a library's compiled extension; None if it was not compiled."""
    if library not in FOUND:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or cache / "torch_extensions")
    for plan in root.rglob(f"{library}_ext/build.ninja"):
        if str(FOUND[library][1]) in plan.read_text() and plan.with_name(f"{library}_ext.so").exists():
            return plan.parent
    return None


# Searched before the fixture `home` changes the home folder.
FOUND = {library: found for library in BACKENDS if (found := _found(library)) is not None}
BUILT = {library: folder for library in BACKENDS if (folder := _compiled(library)) is not None}
if "exllamav2" not in BUILT:
    FOUND.pop("exllamav2", None)
if not FOUND:
    pytest.skip("there are no environments of ExLlamaV2 and V3 here", allow_module_level=True)


@pytest.fixture(scope="session")
def on_cpu(tmp_path_factory):
    """A function that makes an interpreter in which a library computes on the CPU."""
    made = {}

    def make(library):
        if library not in FOUND:
            pytest.skip(f"there is no environment of {library} here with all that this takes")
        if library not in made:
            python, packages = FOUND[library]
            folder = tmp_path_factory.mktemp("on-cpu") / "env"
            subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
            (folder / "bin" / "ninja").symlink_to(packages.parents[2] / "bin" / "ninja")
            (site,) = folder.glob("lib/python3*/site-packages")
            (site / "on_cpu.pth").write_text(
                f"import site; site.addsitedir({str(packages)!r})\n{SHIM}\n"
                f"import {library}_on_cpu; {library}_on_cpu.install()\n"
            )
            made[library] = str(folder / "bin" / "python")
        return made[library]

    return make


@pytest.fixture(autouse=True)
def as_it_was_compiled(monkeypatch, driver):
    """Make ExLlamaV2 use the compiled extension, instead of compiling it again for other GPUs."""
    if "exllamav3" in BUILT:
        monkeypatch.setenv("EXLLAMAV3_EXT", str(BUILT["exllamav3"] / "exllamav3_ext.so"))
    if (built := BUILT.get("exllamav2")) is not None:
        monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(built.parent))
        codes = re.findall(r"arch=compute_(\d+)(\d),code=(sm|compute)", (built / "build.ninja").read_text())
        ptx = {f"{major}.{minor}" for major, minor, kind in codes if kind == "compute"}
        exact = sorted({f"{major}.{minor}" for major, minor, kind in codes if kind == "sm"})
        listed = ";".join(f"{arch}+PTX" if arch in ptx else arch for arch in exact)
        monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", listed)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    driver(version="580.65.06", cuda=13000)


class OnCpu(BackendConformance):
    library: ClassVar[str]
    options: ClassVar[dict] = {}
    patience = 120.0

    @pytest.fixture
    def backend(self):
        return BACKENDS[self.library]()

    @pytest.fixture
    def opening(self, on_cpu, write_model, tmp_path_factory):
        python = on_cpu(self.library)
        folder = tmp_path_factory.mktemp("models")
        options = {"max_seq_len": 2048} | self.options
        if "draft_tokens" in options:
            options["draft_model"] = str(write_model(folder / "draft", real=True))
        return OpenRequest(model=str(write_model(folder / "tiny", real=True)), options=options, python=python)

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 24, "seed": 1}

    @pytest.fixture
    def long_sampling(self):
        return {"max_tokens": 1000, "seed": 1}

    async def test_the_score_of_a_token_does_not_depend_on_later_tokens(self, engine, scored):
        """Without flash-attn, ExLlamaV2 omits the causal mask; the adapter adds it."""
        short, long = "The sea is deep, ", "The sea is deep, and the sky is high above it"
        first = await scored(engine, short)
        second = await scored(engine, long)
        assert len(second) > len(first) > 10
        for one, other in zip(first, second, strict=False):
            assert one.id == other.id
            assert one.logprob == pytest.approx(other.logprob, abs=0.02)

    async def test_distributions_agree_with_the_score_within_the_noise(self, engine, scored):
        """Within the engine's own noise: the difference if the same tokens are computed one at a time."""
        ids = (await engine.tokenize(TokenizeRequest(text=TEXT))).ids
        together, alone, some = [
            await logprobs(engine, ids, **request)
            for request in ({}, {"batch": 1}, {"start": 20, "batch": 7})
        ]
        vocabulary = await engine.vocabulary()
        assert {len(row) for row in together.values()} == {vocabulary.size}
        assert list(together) == list(alone) == list(range(len(ids)))
        assert list(some) == list(range(20, len(ids)))
        noise = max(apart(together[at], alone[at]) for at in together)
        unlike = min(apart(together[at], together[at - 1]) for at in together if at)
        assert noise < unlike, "rows of different positions are as similar as one position computed twice"
        assert all(apart(some[at], together[at]) < unlike for at in some)
        for at, token in enumerate(await scored(engine, TEXT)):
            assert abs(together[at][token.id] - token.logprob) <= noise + FLOAT32

    async def test_the_vocabulary_is_the_tokenizers(self, engine):
        pieces = [bytes([byte]) for byte in range(256)] + [text.encode() for text in (*SPECIAL, *WORDS)]
        told = await engine.vocabulary()
        assert told.size == VOCAB
        assert told.fingerprint == fingerprint([*pieces, *[b""] * (VOCAB - len(pieces))])


FLOAT32 = 1e-4
"""Maximum difference between log-probabilities computed in 32 and in 64 bits, for a few hundred tokens."""


async def logprobs(engine, ids, **request):
    """Return the log-probabilities of all tokens, for each position."""
    rows = {}
    async with contextlib.aclosing(engine.distributions(DistributionsRequest(ids=ids, **request))) as stream:
        async for block in stream:
            data = block.data.cast("B").cast("f")
            for row in range(block.rows):
                logits = data[row * block.vocab_size : (row + 1) * block.vocab_size].tolist()
                norm = math.log(math.fsum(map(math.exp, logits)))
                rows[block.start + row] = [value - norm for value in logits]
    return rows


def apart(one, other):
    """Return the maximum difference between the two, without very unlikely tokens."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True) if max(a, b) > -50)


class Drafting:
    async def test_drafted_tokens_are_accepted(self, engine):
        """The draft model is the model itself; and a greedy answer repeats itself, which n-grams find."""
        sampling = {"max_tokens": 100, "temperature": 0}
        request = RunRequest(messages=(Message(role="user", text="Say it."),), sampling=sampling)
        finish = [event async for event in engine.run(request)][-1]
        assert finish.usage.completion_tokens == 100
        assert finish.usage.drafted_tokens >= finish.usage.accepted_tokens > 20


class TestExLlamaV2OnCpu(OnCpu):
    library = "exllamav2"


class TestExLlamaV2OnCpuWithADraftModel(Drafting, TestExLlamaV2OnCpu):
    options: ClassVar = {"draft_tokens": 3, "chunk_size": 256}


class TestExLlamaV2OnCpuWithNgrams(Drafting, TestExLlamaV2OnCpu):
    options: ClassVar = {"draft_ngram": True, "gpu_split": [20]}


class TestExLlamaV3OnCpu(OnCpu):
    library = "exllamav3"


class TestExLlamaV3OnCpuWithADraftModel(Drafting, TestExLlamaV3OnCpu):
    options: ClassVar = {"draft_tokens": 3, "chunk_size": 256}


@pytest.mark.skipif("exllamav3" not in BUILT, reason="the extension of ExLlamaV3 was not compiled here")
class TestExLlamaV3OnCpuWithNgrams(Drafting, TestExLlamaV3OnCpu):
    options: ClassVar = {"draft_ngram": True}


@pytest.fixture
def opened(on_cpu, write_model, tmp_path):
    """A context manager that opens the model in a library, with options."""

    @contextlib.asynccontextmanager
    async def opening(library, **options):
        # YaRN has an effect only beyond the model's own context.
        folder = write_model(tmp_path / "tiny", real=True, max_position_embeddings=512)
        request = OpenRequest(
            model=str(folder), options={"max_seq_len": 1024} | options, python=on_cpu(library)
        )
        engine = await BACKENDS[library]().open(request, lambda progress: None)
        try:
            yield engine
        finally:
            await engine.close()

    return opening


@pytest.mark.parametrize("library", BACKENDS)
async def test_options_that_change_the_model_have_an_effect(opened, tmp_path, library, scored):
    write_lora(tmp_path / "lora")

    async def scores(**options):
        async with opened(library, **options) as engine:
            return [token.logprob for token in await scored(engine, TEXT)]

    plain = await scores()
    ropes = ({"rope_scale": 4.0}, {"rope_alpha": 8.0}, {"rope_yarn": 8.0})
    lora = {"lora": str(tmp_path / "lora"), "lora_scale": 20.0}
    for options in (lora, *(ropes if library == "exllamav2" else ())):
        assert max(map(abs, map(operator.sub, plain, await scores(**options)))) > 0.01, options
    split = await scores(gpu_split=[20.0], chunk_size=256)
    assert split == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("library", BACKENDS)
async def test_sampling_options_have_their_effect(opened, library):
    async with opened(library) as engine:

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
        # Log-probabilities are the model's, before penalties.
        assert any(token.id != token.top[0].id for token in penalized)
        few = await tokens(temperature=2.0, top_k=3, top_p=1.0, min_p=0.0)
        assert all(token.id in [other.id for other in token.top[:3]] for token in few)
        assert any(token.id != token.top[0].id for token in few)
        # min_p excludes unlikely tokens before the temperature is applied.
        likely = await tokens(temperature=5.0, top_k=0, top_p=1.0, min_p=0.5)
        assert all(token.logprob >= token.top[0].logprob + math.log(0.5) - 0.01 for token in likely)
        assert [token.id for token in await tokens(seed=5)] == [token.id for token in await tokens(seed=5)]


SCRATCH = """
import sys, types
sys.modules["exllamav2_ext"] = types.ModuleType("exllamav2_ext")  # no kernel is called
from exllamav2 import ExLlamaV2, ExLlamaV2Config

config = ExLlamaV2Config(sys.argv[1])
config.max_seq_len, config.max_input_len, config.max_output_len = 1024, 1024, 256
print("RESULT", max(module.scratch_space_fixed() for module in ExLlamaV2(config).modules))
"""


@pytest.mark.parametrize("shape", [TINY, TINY._replace(intermediate=64), TINY._replace(intermediate=4096)])
@pytest.mark.skipif("exllamav2" not in FOUND, reason="there is no environment of exllamav2 here")
def test_the_estimate_of_the_scratch_space_agrees_with_the_library(write_model, tmp_path, shape):
    folder = write_model(tmp_path / "tiny", shape=shape, real=True)
    command = [str(FOUND["exllamav2"][0]), "-c", SCRATCH, str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    model = check_folder(folder, {"plain"}, "ExLlamaV2")
    rope, logits = 4 * (shape.hidden // shape.heads) * 1024, 2 * 256 * VOCAB
    reckoned = v2_buffers(model, ExLlamaV2LoadOptions(), "fp16", 1024) - rope - logits
    assert reckoned == int(said.rpartition("RESULT ")[2])
