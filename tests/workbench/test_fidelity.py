"""Fidelity measurements, over doubles of two backends and over the real SmolLM2."""

import asyncio
import json
import statistics
import tracemalloc
from array import array

import numpy as np
import pytest
from graded_backend import BOS, GradedBackend, GradedEngine, TwinBackend

from paragone import (
    Capabilities,
    InputError,
    LoadedModel,
    LogitsBlock,
    Message,
    OpenEngine,
    TokenizedText,
    TokenizeRequest,
    Vocabulary,
)
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.distances import Scores
from paragone_workbench.measure.fidelity import WINDOW, Fidelity, sample_text, windows_of
from paragone_workbench.measure.fidelity_verdict import fidelity_json, unchanged, verdict
from paragone_workbench.measure.free_running import Comparison

TEXT = " ".join(f"word{number * number % 97}" for number in range(100))
"""100 tokens: 6 windows of 16."""


class Doubles(Registry):
    """A registry of the test's backends."""

    def find(self, name):
        return {"graded": GradedBackend(), "twin": TwinBackend()}.get(name)


def handle(model, backend="graded"):
    return EngineTask(EngineDefinition(name=f"{model}-{backend}", backend=backend, model=model), Doubles())


async def measured(reference, *candidates, text=TEXT, window=16, on_step=lambda step: None):
    fidelity = Fidelity(handle(reference), candidates, text, window=window)
    try:
        await fidelity.measure(on_step)
    finally:
        await close(fidelity)
    return fidelity


async def close(fidelity):
    engines = [fidelity.reference.engine, *(candidate.engine for candidate in fidelity.candidates)]
    await asyncio.gather(*(engine.close() for engine in engines))


def printed(fidelity):
    return json.loads(json.dumps(fidelity_json(fidelity)))


async def test_every_window_starts_with_an_empty_cache_and_is_scored_in_its_second_half():
    fidelity = Fidelity(handle("beginning"), [handle("beginning", "twin")], TEXT, window=16)
    await fidelity.measure()
    engine = fidelity.reference.engine._opened
    assert isinstance(engine, GradedEngine)
    requests = engine.requests
    await close(fidelity)
    assert [request.batch for request in requests] == [None, 1, None, None, None, None, None]
    assert {(len(request.ids), request.start) for request in requests} == {(15, 8)}
    assert {request.ids[0] for request in requests} == {BOS}
    assert fidelity.reference.tokens == 100  # BOS is not of the text


def scores(kld):
    """A window in which every one of 50 positions has this KL divergence."""
    constant = np.full(50, kld)
    return Scores(constant, constant, constant, constant < 1)


def test_the_variation_between_windows_decides_what_is_within_the_noise_floor():
    """Each of 50 positions as further evidence would make the candidate's mean significantly larger."""
    fidelity = Fidelity(handle("exact"), [handle("rough")], TEXT, window=16)
    (candidate,) = fidelity.candidates
    fidelity.noise.compare([scores(0.010)])
    for kld in (0.005, 0.013, 0.017, 0.025):
        candidate.compare([scores(kld)])
    assert "mean KLD 0.0150 ± 0.0042 (small), within the noise floor of exact-graded (0.01)" in verdict(
        candidate, fidelity
    )
    found = printed(fidelity)["candidates"][0]
    assert found["mean_kld_se"] == pytest.approx(statistics.stdev((0.005, 0.013, 0.017, 0.025)) / 2)
    assert found["llama_perplexity_se"]["mean_kld"] == pytest.approx(
        statistics.stdev([0.005, 0.013, 0.017, 0.025] * 50) / 200**0.5
    )
    clear = Fidelity(handle("exact"), [handle("rough")], TEXT, window=16)
    clear.noise.compare([scores(0.001)])
    for kld in (0.005, 0.013, 0.017, 0.025):
        clear.candidates[0].compare([scores(kld)])
    assert ", 15 × above the noise floor of exact-graded;" in verdict(clear.candidates[0], clear)


async def test_a_candidate_equal_to_the_reference_gets_a_warning():
    options = EngineDefinition(name="other", backend="graded", model="exact", options={"context": 512})
    fidelity = await measured(
        "exact", handle("exact"), EngineTask(options, Doubles()), handle("collapsed"), handle("rough")
    )
    same, other, file, rough = (unchanged(candidate, fidelity) for candidate in fidelity.candidates)
    assert same.endswith("both are the same model with the same options, so nothing was compared.")
    assert other.endswith("although context differ. Check that the engine applies them.")
    assert "although the models have different names" in file
    assert rough == ""
    assert [it["warning"] is None for it in printed(fidelity)["candidates"]] == [False] * 3 + [True]


async def test_stop_keeps_the_greedy_answers_so_far():
    prompts = [(Message(role="user", text=f"Question {number}"),) for number in range(5)]
    engines = [EngineDefinition(name=it, backend="graded", model=it) for it in ("exact", "rough")]
    found = Comparison(Doubles(), engines, "", prompts, known=frozenset(("exact", "rough")))
    tasks: list[asyncio.Task[None]] = []

    def on_step(step):
        if step.done == 3:
            tasks.append(asyncio.ensure_future(found.stop()))

    await found.measure(on_step)
    await tasks[0]
    await found.close()
    exact, rough = found.answers.values()
    assert 1 <= len(rough) <= len(exact) <= 2


# The windows of a text


def test_the_second_half_of_each_window_is_scored():
    _, second = windows_of(range(100, 1200), 512, bos=None, owner="m")
    # tokens 512 … 1023 of the text; the last one is a target only, and the rest of the text is dropped
    assert second.ids == tuple(range(612, 1123))
    assert second.start == 256
    assert second.targets.tolist() == list(range(100 + 512 + 257, 100 + 1024))
    assert [second.ids[second.start] + 1, second.ids[-1] + 1] == [second.targets[0], second.targets[-1]]


def test_bos_replaces_the_first_token_of_each_window():
    windows = windows_of((7, *range(20, 60)), 16, bos=7, owner="m")
    assert windows[0].ids[:3] == (7, 20, 21)
    assert windows[1].ids[:3] == (7, 36, 37)  # instead of 35
    assert windows[1].targets.tolist() == list(range(44, 51))


# What cannot be measured


async def test_a_reference_needs_whole_distributions():
    with pytest.raises(InputError, match="reports only the most likely tokens"):
        await measured("tops", handle("exact"))
    with pytest.raises(InputError, match="its fidelity cannot be measured"):
        await measured("mute", handle("exact"))


async def test_a_candidate_that_cannot_be_opened_leaves_the_others_alone():
    fidelity = await measured("exact", handle("nothing"), handle("mute"), handle("rough"))
    nothing, mute, rough = fidelity.candidates
    assert "no model 'nothing'" in str(nothing.error)
    assert "cannot be measured" in str(mute.error)
    assert (rough.error, rough.windows) == (None, 6)


# Memory

WIDTH, LENGTH = 20_000, 128
ROWS = memoryview(array("f", [n % 100 / 10 for n in range(WIDTH)] * 21)).cast("B").cast("f", (21, WIDTH))


class WideEngine(OpenEngine):
    """A test double: its rows are the same everywhere, and as many as are asked for."""

    loaded = LoadedModel(name="wide", capabilities=Capabilities(distributions=True))

    async def run(self, request):
        yield

    async def stop(self): ...

    async def close(self): ...

    async def tokenize(self, request):
        return TokenizedText(text=None, ids=(5,) * len(request.text))

    async def vocabulary(self):
        return Vocabulary(size=WIDTH, fingerprint="f" * 64)

    async def distributions(self, request):
        for start in range(request.start, len(request.ids), 21):
            rows = min(21, len(request.ids) - start)
            yield LogitsBlock(start=start, rows=rows, vocab_size=WIDTH, data=ROWS[:rows])


class WideTask(EngineTask):
    """A test double: it is open, and has no process."""

    def __init__(self):
        super().__init__(EngineDefinition(name="wide", backend="graded", model="exact"), Doubles())

    capabilities = WideEngine.loaded.capabilities

    def open(self, *_, **__): ...

    def require_open(self):
        return WideEngine.loaded

    async def use(self, work, stopping=None):
        return await work(WideEngine())

    async def opened(self):
        return True


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_text():
    peaks = []
    for windows in (2, 16):
        fidelity = Fidelity(WideTask(), [WideTask(), WideTask()], "x" * (LENGTH * windows), window=LENGTH)
        tracemalloc.start()
        await fidelity.measure()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert fidelity.candidates[1].windows == windows
    few, many = peaks
    one_window = 63 * WIDTH * 4
    assert many - few < one_window / 2, "eight times the text"


# The real model


def real(smollm2, **options):
    definition = EngineDefinition(
        name="smol",
        backend="llama_cpp",
        model=str(smollm2),
        options={"n_threads": 1, "n_ctx": 512, **options},
    )
    return EngineTask(definition, Registry())


# The text that comes with the program


@pytest.mark.model
async def test_the_sample_has_at_least_four_windows(smollm2):
    handle = real(smollm2)
    handle.open(1)
    assert await handle.opened()
    found = await handle.use(lambda opened: opened.tokenize(TokenizeRequest(text=sample_text())))
    await handle.close()
    assert len(found.ids) >= 4 * WINDOW
