"""The memory planner, with a scripted backend whose memory is known."""

from dataclasses import dataclass, replace

import pytest
from tests.workbench.conftest import Paper

from paragone import (
    Capabilities,
    DeviceMemory,
    InputError,
    MemoryEstimate,
    ModelLayout,
    ModelPart,
    OpenRequest,
    Options,
    option,
)
from paragone.options import build
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.measure.fit import HYPOTHETICAL, KEPT_FREE, MemoryPlanner

MIB = 1 << 20
GIB = 1 << 30
LAYERS, LAYER, EMBEDDINGS, TOKEN, COMPUTE = 10, 100 * MIB, 50 * MIB, 1024, 30 * MIB
"""Sizes of the scripted model: bytes of a layer, of the tied embeddings, and of a token in a layer's KV cache."""
WEIGHTS = LAYERS * LAYER + EMBEDDINGS
TRAINED = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    window: int = option(1000, "Context window.", minimum=1, fact="context")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWithoutContext(Options):
    other: int = option(1, "Something else.")


class Scripted(Paper):
    """A test double: a backend that estimates a model of known size."""

    name = "scripted"
    title = "Scripted"
    api_version = 2
    load_options: type[Options] = Load
    capabilities = Capabilities(estimate=True, local=True)

    def __init__(self, free=100 * GIB, **changes):
        self.free = free
        self.changes = changes
        self.contexts = []

    async def estimate(self, request):
        context = getattr(build(self.load_options, request.options), "window", 1000)
        self.contexts.append(context)
        parts = [ModelPart(weights=LAYER, kv_cache=TOKEN * context)] * LAYERS
        cpu = DeviceMemory(
            device="CPU",
            weights=WEIGHTS,
            kv_cache=LAYERS * TOKEN * context,
            compute=COMPUTE,
            free=None if self.free is None else self.free - len(self.contexts),  # it changes all the time
        )
        found = MemoryEstimate(
            context=context,
            devices=(cpu,),
            layers=LAYERS,
            gpu_layers=0,
            trained_context=TRAINED,
            parameters=WEIGHTS // 2,
            layout=ModelLayout(
                parts=(*parts, ModelPart(weights=EMBEDDINGS, shared=EMBEDDINGS)),
                main_weights=EMBEDDINGS,
                compute=COMPUTE,
            ),
        )
        return replace(found, **self.changes)


def planner(backend=None, *, vram=None, model="model", **options):
    """Return a planner, with `vram` for hypothetical GPUs that have so much room beside what stays free."""
    definition = EngineDefinition(name="it", backend="scripted", model=model, options=options)
    rooms = () if vram is None else vram if isinstance(vram, tuple) else (vram,)
    return MemoryPlanner(definition, backend or Scripted(), vram=[room + KEPT_FREE for room in rooms])


async def test_the_plan_agrees_with_the_estimate_of_the_backend():
    plan = await planner(window=2000).plan()
    assert (plan.context, plan.fits, plan.fits_whole, plan.is_tight) == (2000, True, True, False)
    assert plan.needed == WEIGHTS + LAYERS * TOKEN * 2000 + COMPUTE
    assert (await planner(window=2000).plan(3000)).context == 3000


async def test_a_plan_that_leaves_less_than_the_margin_is_tight():
    needed = WEIGHTS + LAYERS * TOKEN * 1000 + COMPUTE
    plan = await planner(Scripted(needed + GIB // 2)).plan()
    assert (plan.fits, plan.is_tight) == (True, True)
    plan = await planner(Scripted(needed - MIB)).plan()
    assert (plan.fits, plan.is_tight, plan.fits_whole) == (False, False, False)
    plan = await planner(Scripted(None)).plan()
    assert (plan.fits, plan.is_tight, plan.fits_whole) == (None, False, False)


async def test_the_largest_context_is_found_with_few_estimates():
    tokens = 77_777
    backend = Scripted(WEIGHTS + COMPUTE + LAYERS * TOKEN * tokens + 1000)
    it = planner(backend)
    largest = await it.largest_context(await it.plan())
    assert tokens - 256 < largest <= tokens
    assert len(backend.contexts) <= 6


async def test_a_model_that_never_fits_has_no_largest_context():
    it = planner(Scripted(WEIGHTS))
    assert await it.largest_context(await it.plan()) == 0
    for unknown in (Scripted(None), Scripted(trained_context=None)):
        it = planner(unknown)
        assert await it.largest_context(await it.plan()) is None


async def test_a_backend_without_a_context_option_is_refused():
    class Fixed(Scripted):
        load_options = LoadWithoutContext

    it = planner(Fixed())
    assert await it.largest_context(await it.plan()) is None
    with pytest.raises(InputError, match="no option for the context"):
        await it.plan(2000)


# A hypothetical GPU


@pytest.mark.parametrize(("trained", "asked"), [(TRAINED, [4096]), (2048, [4096, 2048])])
async def test_engines_without_a_configured_context_get_the_same_one(trained, asked):
    backend = Scripted(trained_context=trained)
    plan = await planner(backend, vram=2 * GIB).plan()
    assert (plan.context, backend.contexts) == (asked[-1], asked)


async def test_a_model_goes_to_a_hypothetical_gpu_as_a_whole():
    it = planner(vram=2 * GIB, window=1000)
    plan = await it.plan()
    gpu, cpu = plan.devices
    assert (gpu.device, gpu.free, gpu.fits) == (HYPOTHETICAL, 2 * GIB, True)
    # the embeddings are needed in both places, for they are also the output
    assert (gpu.weights, cpu.weights) == (WEIGHTS, EMBEDDINGS)
    assert (gpu.kv_cache, gpu.compute) == (LAYERS * TOKEN * 1000, COMPUTE)
    assert (cpu.kv_cache, cpu.compute) == (0, 0)
    assert (plan.gpu_layers, plan.layers, plan.fits_whole) == (11, 11, True)
    # the whole model stays on the GPU: the context is what fits there
    left = 2 * GIB - WEIGHTS - COMPUTE
    assert await it.largest_context(plan) == pytest.approx(left / LAYERS / TOKEN, abs=256)


async def test_the_last_layers_go_to_a_hypothetical_gpu_that_is_too_small():
    count, layer = 5, LAYER + 1000 * TOKEN
    room = COMPUTE + EMBEDDINGS + (count - 1) * layer
    plan = await planner(vram=room + layer - 1, window=1000).plan()
    gpu, cpu = plan.devices
    assert (plan.gpu_layers, plan.fits, plan.fits_whole) == (count, True, False)
    assert gpu.needed == room
    assert cpu.weights == EMBEDDINGS + (LAYERS - count + 1) * LAYER
    assert gpu.kv_cache + cpu.kv_cache == LAYERS * TOKEN * 1000


async def test_the_largest_context_of_a_divided_model_is_limited_by_main_memory():
    backend = Scripted(WEIGHTS + 2 * GIB)
    it = planner(backend, vram=500 * MIB, window=1000)
    plan = await it.plan()
    largest = await it.largest_context(plan)
    assert largest > 200_000
    assert (await it.plan(largest)).fits
    assert not (await it.plan(largest + 1024)).fits
    assert len(backend.contexts) <= 25


async def test_an_indivisible_model_is_placed_whole():
    whole = (await Scripted().estimate(OpenRequest(model="model"))).layout
    plan = await planner(Scripted(layout=replace(whole, splits=False)), vram=GIB // 2, window=1000).plan()
    gpu, _ = plan.devices
    assert (gpu.weights, gpu.fits, plan.fits) == (WEIGHTS, False, False)


async def test_memory_for_the_driver_and_the_margin_is_not_used():
    whole = WEIGHTS + LAYERS * TOKEN * 1000 + COMPUTE
    definition = EngineDefinition(name="it", backend="scripted", model="m", options={"window": 1000})
    plan = await MemoryPlanner(definition, Scripted(), vram=[whole]).plan()
    assert (plan.gpu_layers, plan.devices[0].free) == (0, 0)
    plan = await MemoryPlanner(definition, Scripted(), vram=[whole + KEPT_FREE]).plan()
    assert (plan.fits_whole, plan.devices[0].free) == (True, whole)


async def test_hypothetical_gpus_get_layers_in_proportion_to_their_memory():
    """As llama.cpp splits them: part k of n goes to the first GPU whose share of the room ends after k / n."""
    plan = await planner(vram=(2 * GIB, GIB), window=1000).plan()
    first, second, cpu = plan.devices
    assert [it.device for it in plan.devices] == [f"{HYPOTHETICAL} 0", f"{HYPOTHETICAL} 1", "CPU"]
    # the margin is free memory for llama.cpp: it divides 3 to 2
    assert (first.weights, second.weights) == (7 * LAYER, 3 * LAYER + EMBEDDINGS)
    assert (first.kv_cache, second.kv_cache) == (7 * TOKEN * 1000, 3 * TOKEN * 1000)
    assert (first.compute, second.compute, cpu.compute) == (COMPUTE, COMPUTE, 0)
    assert (plan.fits_whole, plan.gpu_layers) == (True, 11)


async def test_engines_may_fill_gpus_one_after_the_other():
    layout = (await Scripted().estimate(OpenRequest(model="model"))).layout
    backend = Scripted(layout=replace(layout, splits=False, in_order=True))
    room = 7 * (LAYER + TOKEN * 1000) + COMPUTE
    first, second, _ = (await planner(backend, vram=(room, room), window=1000).plan()).devices
    assert (first.weights, second.weights) == (7 * LAYER, 3 * LAYER + EMBEDDINGS)


EXPERTS = 80 * MIB
"""Bytes of the experts of a layer, of 100 MiB."""


def mixture():
    """Return a backend whose model is a mixture of experts."""
    cache = 1000 * TOKEN
    parts = [ModelPart(weights=LAYER, kv_cache=cache, experts=EXPERTS)] * LAYERS
    layout = ModelLayout(
        parts=(*parts, ModelPart(weights=EMBEDDINGS, shared=EMBEDDINGS)),
        main_weights=EMBEDDINGS,
        compute=COMPUTE,
        experts_option="keep",
    )
    return Scripted(layout=layout)


async def test_layers_without_their_experts_go_to_a_gpu_that_is_too_small_for_all():
    room = COMPUTE + EXPERTS + EMBEDDINGS + 3 * (LAYER - EXPERTS + TOKEN * 1000)
    plan = await planner(mixture(), vram=room, window=1000).plan()
    assert (plan.gpu_layers, plan.hypothetical.expert_layers, plan.fits) == (4, 10, True)


# GPUs of this machine


async def test_the_message_states_how_many_layers_fit_on_the_gpus():
    def gpu(name, free):
        return DeviceMemory(device=name, weights=WEIGHTS // 2, kv_cache=0, compute=COMPUTE, free=free)

    room = KEPT_FREE + COMPUTE + 3 * (LAYER + TOKEN * 1000)
    needed = WEIGHTS // 2 + COMPUTE
    changed = [replace(gpu(name, room), weights=2 * room) for name in ("GPU0", "GPU1")]
    plan = await planner(Scripted(devices=tuple(changed))).plan()
    assert (plan.fits, plan.offload.count) == (False, 6)
    plan = await planner(Scripted(devices=(gpu("GPU0", needed), gpu("GPU1", needed)))).plan()
    assert (plan.fits, plan.offload) == (True, None)


# Other quantizations


async def test_the_size_of_another_quantization_follows_from_its_bits(monkeypatch):
    monkeypatch.setattr(Scripted, "quantizations", {"same": 16.0, "half": 8.0})  # the model has 16 bits
    it = planner(vram=800 * MIB, window=1000)
    plan = await it.plan()
    assert not plan.fits_whole
    (half,) = await it.usual_quantizations(plan, without=[])
    assert (half.name, half.size) == ("half", WEIGHTS // 2)
    assert half.plan.fits_whole
    gpu, _ = half.plan.devices
    assert gpu.weights == pytest.approx(WEIGHTS / 2, rel=1e-6)
    assert gpu.kv_cache == LAYERS * TOKEN * 1000
    assert await it.usual_quantizations(plan, without=["half"]) == []
    unknown = planner(Scripted(parameters=None))
    assert await unknown.usual_quantizations(await unknown.plan(), without=[]) == []
