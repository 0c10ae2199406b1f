"""Memory estimates, compared with what llama.cpp reports when it loads the model."""

import mmap
import re

import psutil
import pytest
from large_model import (
    EXPERT_WIDE,
    EXPERTS,
    MOE_HIDDEN,
    MOE_LAYERS,
    PARAMETERS,
    TRAINED,
    write_large_model,
    write_large_moe,
)

from paragone import Json, MemoryEstimate, OpenRequest
from paragone.worker.client import Worker
from paragone_llama_cpp import demo
from paragone_llama_cpp.backend import LlamaCppBackend

pytestmark = pytest.mark.model


def reported(log, what):
    """The bytes of the buffers of a kind, according to llama.cpp's log."""
    sizes = re.findall(rf"{what} buffer size = +([\d.]+) MiB", log.read_text())
    assert sizes
    return sum(float(size) for size in sizes) * (1 << 20)


def resident(worker):
    """The resident memory of a worker, in bytes."""
    return psutil.Process(worker.pid).memory_info().rss


async def test_an_estimate_agrees_with_the_memory_of_the_process_and_has_its_parts(demo_cache, tmp_path):
    """Weights and KV cache are what the process grows by beside one that knows only the vocabulary.

    The compute buffers become resident only with a full context, so their size is taken from llama.cpp's log. The model
    has all its layers: beside its memory, that of the process is small.
    """
    log = tmp_path / "engine.log"
    options = {"n_ctx": 4096, "n_gpu_layers": 0}
    request = OpenRequest(model=str(demo_cache / demo._MADE), options=options, threads=1, log=str(log))
    backend = LlamaCppBackend()
    worker = await backend._start(None, None)
    try:
        estimate = await worker.answer("estimate", request, MemoryEstimate)
        without_weights = resident(worker)
    finally:
        await worker.close()
    engine = await backend.open(request, lambda progress: None)
    assert isinstance(engine, Worker)
    try:
        grown = resident(engine) - without_weights
    finally:
        await engine.close()
    (cpu,) = estimate.devices
    buffers = reported(log, "compute") + reported(log, "output")
    assert cpu.needed == pytest.approx(grown + buffers, rel=0.05)

    layout = estimate.layout
    assert len(layout.parts) == 31
    assert estimate.weights == cpu.weights
    assert {part.kv_cache for part in layout.parts[:30]} == {4096 * 3 * 64 * 2 * 2}
    output = layout.parts[30]
    assert output.kv_cache == 0
    assert output.shared == layout.main_weights  # the embeddings are also the output
    assert output.weights - output.shared == 576 * 4  # the norm
    assert (estimate.trained_context, estimate.parameters) == (8192, 134_515_008)
    assert layout.splits


async def test_the_estimated_layout_uses_the_defaults_for_a_gpu(model_path):
    async def compute(**options):
        request = OpenRequest(model=model_path, options={"n_ctx": 8192, **options}, threads=1)
        return (await LlamaCppBackend().estimate(request)).layout.compute

    # 512 prompt tokens in a batch, with flash attention
    assert await compute() == await compute(n_batch=512, flash_attn="on")
    small = await compute(n_batch=64, flash_attn="off")
    assert await compute(n_batch=512, flash_attn="off") > 2 * small
    assert await compute(n_batch=64, flash_attn="on") < small


async def test_a_large_model_is_estimated_from_its_header(tmp_path):
    path = write_large_model(tmp_path, "F16")
    estimate = await LlamaCppBackend().estimate(
        OpenRequest(model=str(path), options={"n_ctx": 8192}, threads=1)
    )
    assert estimate.parameters == PARAMETERS
    assert estimate.weights == pytest.approx(2 * PARAMETERS, rel=1e-3)
    assert sum(device.kv_cache for device in estimate.devices) == 8192 * 80 * 8 * 128 * 2 * 2
    assert estimate.trained_context == TRAINED
    assert len(estimate.layout.parts) == 81
    assert estimate.layout.main_weights == 128256 * 8192 * 2  # the embeddings


async def test_the_experts_of_a_mixture_are_known_from_its_header(tmp_path):
    path = str(write_large_moe(tmp_path, vocab=600))

    async def estimated(**options):
        request = OpenRequest(model=path, options={"n_ctx": 4096, **options}, threads=1)
        return await LlamaCppBackend().estimate(request)

    plain = await estimated()
    experts = 3 * EXPERTS * EXPERT_WIDE * MOE_HIDDEN * 34 // 32
    assert [part.experts for part in plain.layout.parts] == [experts] * MOE_LAYERS + [0]
    assert plain.layout.experts_option == "n_cpu_moe"
    assert sum(part.experts for part in plain.layout.parts) > 0.9 * plain.weights
    # llama.cpp takes the option and plans the same memory, where there is no GPU to keep the experts from
    kept = await estimated(n_cpu_moe=20)
    assert [it.weights for it in kept.devices] == [it.weights for it in plain.devices]


async def test_the_library_keeps_experts_in_main_memory(tmp_path):
    """A small mixture without weights is loaded. llama.cpp says that tensors are placed by overrides."""
    path = str(write_large_moe(tmp_path, layers=3, hidden=256, experts=8, vocab=600))
    said = []
    for layers in (0, 2):
        log = tmp_path / f"{layers}.log"
        options = {"n_ctx": 256, "n_cpu_moe": layers, "chat_template": ""}
        request = OpenRequest(model=path, options=options, threads=1, log=str(log))
        engine = await LlamaCppBackend().open(request, lambda progress: None)
        await engine.close()
        said.append("tensor overrides to CPU are used" in log.read_text())
    assert said == [False, True]


def test_experts_of_the_first_layers_stay_in_main_memory():
    from paragone_llama_cpp.estimate import weights_by_device

    tensors = {f"blk.{layer}.ffn_{name}_exps.weight": 100 for layer in range(3) for name in ("up", "down")}
    tensors |= {"blk.0.ffn_gate_inp.weight": 1, "blk.0.ffn_up_shexp.weight": 10, "output.weight": 5}
    places = dict.fromkeys(range(4), "CUDA0")
    assert weights_by_device(tensors, places, cpu_moe=2) == {"CPU": 400, "CUDA0": 216}
    assert weights_by_device(tensors, places) == {"CPU": 0, "CUDA0": 616}


def test_pages_of_other_files_are_not_released(tmp_path):
    """Only read-only mappings of the named files are released; what is in them stays readable."""
    from paragone_llama_cpp.model import release_pages

    path = tmp_path / "weights"
    path.write_bytes(b"x" * (1 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[::4096] == b"x" * 256
        before = psutil.Process().memory_info().shared
        release_pages([tmp_path / "other"])
        assert psutil.Process().memory_info().shared > before - (1 << 19)
        release_pages([path])
        assert psutil.Process().memory_info().shared < before - (1 << 19)
        assert mapped[::4096] == b"x" * 256
    release_pages([path], tmp_path / "no-such-list")


async def test_an_estimate_agrees_with_the_memory_used(model_path, tmp_path):
    options: dict[str, Json] = {"n_ctx": 512, "type_k": "q8_0", "type_v": "q8_0", "n_gpu_layers": 0}
    backend = LlamaCppBackend()
    estimate = await backend.estimate(OpenRequest(model=model_path, options=options, threads=1))
    log = tmp_path / "engine.log"
    engine = await backend.open(
        OpenRequest(model=model_path, options=options, threads=1, log=str(log)), lambda progress: None
    )
    await engine.close()  # the log is whole then
    assert estimate.context == engine.loaded.context == 512
    (cpu,) = estimate.devices
    assert cpu.device == "CPU"
    assert cpu.weights == engine.loaded.size
    assert cpu.kv_cache == pytest.approx(reported(log, "KV"), rel=0.05)
    assert cpu.compute == pytest.approx(reported(log, "compute") + reported(log, "output"), rel=0.05)
    # 2 layers of 3 heads of 64 numbers, K and V; 32 numbers of q8_0 take 34 bytes.
    assert cpu.kv_cache == pytest.approx(512 * 2 * 3 * 64 * 2 * 34 / 32, rel=0.05)
    assert (estimate.layers, estimate.gpu_layers) == (2, 0)
    assert 0 < cpu.free <= cpu.total


def test_a_plan_over_several_devices_is_read():
    """The lines come from llama.cpp, for a model with sliding-window layers on two GPUs and the CPU."""
    from paragone_llama_cpp.estimate import _places, read_plan

    lines = [
        "load_tensors: layer 0 assigned to device CPU, is_swa = 0",
        "load_tensors: layer 1 assigned to device CUDA0, is_swa = 1",
        "load_tensors: layer 2 assigned to device CUDA1, is_swa = 1",
        "llama_context: CUDA_Host output buffer size = 1.00 MiB",
        "llama_kv_cache: layer 0: dev = CPU",
        "llama_kv_cache: CPU KV buffer size = 0.00 MiB",
        "llama_kv_cache: size = 8.00 MiB ( 4096 cells, 1 layers, 1/1 seqs), K (f16): 4.00 MiB, V (f16): 4.00 MiB",
        "llama_kv_cache: layer 1: dev = CUDA0",
        "llama_kv_cache: layer 2: dev = CUDA1",
        "llama_kv_cache: size = 2.00 MiB ( 512 cells, 2 layers, 1/1 seqs), K (f16): 1.00 MiB, V (f16): 1.00 MiB",
        "sched_reserve: CUDA0 compute buffer size = 100.00 MiB",
        "sched_reserve: CUDA1 compute buffer size = 90.00 MiB",
        "sched_reserve: CUDA_Host compute buffer size = 10.50 MiB",
    ]
    compute, kv_cache, kv_by_layer = read_plan(lines, ["CUDA0", "CUDA1", "CPU"])
    mib = 1 << 20
    assert _places(lines) == {0: "CPU", 1: "CUDA0", 2: "CUDA1"}
    assert kv_cache == {"CPU": 8 * mib, "CUDA0": mib, "CUDA1": mib}
    assert kv_by_layer == {0: 8 * mib, 1: mib, 2: mib}
    assert compute == {"CUDA0": 100 * mib, "CUDA1": 90 * mib, "CPU": 11.5 * mib}


def test_weights_are_on_the_devices_of_their_layers():
    from paragone_llama_cpp.estimate import weights_by_device

    tensors = {"token_embd.weight": 1000, "blk.0.attn_q.weight": 10, "blk.1.attn_q.weight": 20}
    tensors["output_norm.weight"] = 1
    places = {0: "CPU", 1: "CUDA0", 2: "CUDA0"}
    assert weights_by_device({**tensors, "output.weight": 500}, places) == {"CPU": 1010, "CUDA0": 521}
    # Embeddings that are also the output weights are copied to the device of the output.
    assert weights_by_device(tensors, places) == {"CPU": 1010, "CUDA0": 1021}
    assert weights_by_device(tensors, {0: "CPU", 1: "CPU", 2: "CPU"}) == {"CPU": 1031}


def test_only_rpc_servers_are_contacted():
    backend = LlamaCppBackend()
    assert backend.reaches("a.gguf", {}) == ()
    addresses = ["127.0.0.1:50052", "[::1]:50053"]
    assert backend.reaches("a.gguf", {"rpc_servers": addresses}) == tuple(addresses)
