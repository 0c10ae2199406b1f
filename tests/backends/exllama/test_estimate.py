"""Memory estimates, with synthetic model folders and a stand-in of the NVIDIA driver."""

import math

import pytest

from paragone import OpenRequest
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend

BACKENDS = {"exllamav2": ExLlamaV2Backend, "exllamav3": ExLlamaV3Backend}
both = pytest.mark.parametrize("library", list(BACKENDS))

HIDDEN, WIDE, HEADS, KV_HEADS, DIMENSION, LAYERS, VOCAB = 64, 128, 4, 2, 16, 3, 320
CONFIG = {
    "hidden_size": HIDDEN,
    "intermediate_size": WIDE,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": DIMENSION,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCAB,
}
EMBEDDING, LAYER, NORM = 2 * VOCAB * HIDDEN, 2 * HIDDEN * WIDE, 2 * HIDDEN
CONTEXT = 1024
CACHE = 2 * KV_HEADS * DIMENSION * 2 * CONTEXT  # of one layer, in 16 bits


def weights(*, head=True, layer=(HIDDEN, WIDE)):
    """Return the tensors of a model with one 16-bit matrix in each layer."""
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    shapes |= {f"model.layers.{at}.mlp.up_proj.weight": layer for at in range(LAYERS)}
    if head:
        shapes["lm_head.weight"] = (VOCAB, HIDDEN)
    tensors = {}
    for name, shape in shapes.items():
        tensors[name] = ("F16", shape, 2 * math.prod(shape))
    return tensors


@pytest.fixture
def estimated(interpreter, write_model, tmp_path):
    """A function that estimates a synthetic model in a worker, which imports no library."""

    async def estimate(library, *, tensors=None, config=None, **options):
        folder = write_model(
            tmp_path / "model", tensors=weights() if tensors is None else tensors, **CONFIG | (config or {})
        )
        request = OpenRequest(
            model=str(folder), options={"max_seq_len": CONTEXT, **options}, python=interpreter
        )
        return await BACKENDS[library]().estimate(request)

    return estimate


@both
async def test_weights_and_cache_are_counted_to_the_byte(library, estimated, driver):
    driver()
    found = await estimated(library)
    gpu, cpu = found.devices
    assert (found.context, found.layers, found.gpu_layers) == (CONTEXT, LAYERS, LAYERS)
    assert (gpu.device, gpu.free, gpu.total) == ("Paper GPU", 20 << 30, 24 << 30)
    assert gpu.weights == LAYERS * LAYER + NORM + EMBEDDING  # the head has the size of the embeddings
    assert gpu.kv_cache == LAYERS * CACHE
    assert gpu.compute > 0
    assert (cpu.device, cpu.weights, cpu.needed) == ("CPU", EMBEDDING, EMBEDDING)
    layers, rest = found.layout.parts[:LAYERS], found.layout.parts[LAYERS]
    assert {(part.weights, part.kv_cache, part.shared) for part in layers} == {(LAYER, CACHE, 0)}
    assert (rest.weights, rest.kv_cache, rest.shared) == (NORM + EMBEDDING, 0, 0)
    assert (found.layout.main_weights, found.layout.splits) == (EMBEDDING, False)
    assert found.parameters == (LAYERS * LAYER + NORM + 2 * EMBEDDING) // 2
    tied = await estimated(library, tensors=weights(head=False))
    assert tied.layout.parts[-1].shared == EMBEDDING
    assert tied.devices[0].weights == gpu.weights


async def test_weights_of_32_bits_are_loaded_as_16_bits(estimated, driver):
    driver()
    gpu, _ = (await estimated("exllamav3")).devices
    tensors = weights()
    tensors["model.layers.0.mlp.up_proj.weight"] = ("F32", (HIDDEN, WIDE), bytes(2 * LAYER))
    wide, _ = (await estimated("exllamav3", tensors=tensors)).devices
    assert wide.weights == gpu.weights


async def test_the_size_of_a_quantized_cache_includes_its_scales(estimated, driver):
    driver()
    for kind, bits in (("q8", 8.5), ("q4", 4.5)):
        gpu, _ = (await estimated("exllamav3", cache_type=kind)).devices
        assert gpu.kv_cache == LAYERS * CACHE * bits / 16


async def test_layers_fill_one_gpu_after_the_other(estimated, driver):
    driver(gpus=2, free=64 << 20)
    # One layer and its cache take 24 MiB: two of them fit in 64 MiB, with the compute buffers.
    found = await estimated("exllamav3", tensors=weights(layer=(3072, 4096)))
    first, second, cpu = found.devices
    assert first.weights == 2 * (24 << 20)
    assert first.kv_cache == 2 * CACHE
    assert second.weights == (24 << 20) + NORM + EMBEDDING
    assert second.kv_cache == CACHE
    assert first.compute == second.compute
    assert all(device.needed < device.free for device in (first, second))
    assert cpu.device == "CPU"
    driver(gpus=2, free=8 << 20)  # what does not fit is counted on the last GPU
    (last, _) = (await estimated("exllamav3", tensors=weights(layer=(3072, 4096)))).devices
    assert last.weights == LAYERS * (24 << 20) + NORM + EMBEDDING
    assert last.needed > last.free


async def test_a_split_limits_the_memory_of_each_gpu(estimated, driver):
    driver(gpus=2)
    found = await estimated("exllamav3", tensors=weights(layer=(3072, 4096)), gpu_split=[60 / 1024, 1])
    assert [device.weights for device in found.devices[:1]] == [2 * (24 << 20)]
    only = await estimated("exllamav3", gpu_split=[1])
    assert [device.device for device in only.devices] == ["Paper GPU", "CPU"]


@pytest.mark.parametrize("driven", [True, False])
async def test_without_a_reply_of_the_driver_free_memory_is_unknown(driven, estimated, driver, monkeypatch):
    if driven:
        driver(tells=0)
    else:
        driver(init=9)
    gpu, _ = (await estimated("exllamav3")).devices
    assert (gpu.device, gpu.free, gpu.total) == ("Paper GPU" if driven else "GPU", None, None)
    assert gpu.weights == LAYERS * LAYER + NORM + EMBEDDING


async def test_the_memory_of_a_draft_model_is_included(estimated, driver, write_model, tmp_path):
    driver()
    alone, alone_cpu = (await estimated("exllamav3", cache_type="q4")).devices
    draft = str(write_model(tmp_path / "draft", tensors=weights(), **CONFIG))
    gpu, cpu = (await estimated("exllamav3", cache_type="q4", draft_model=draft)).devices
    assert gpu.weights == 2 * alone.weights
    assert gpu.kv_cache == alone.kv_cache + LAYERS * CACHE  # the cache of the draft model is not quantized
    assert cpu.weights == 2 * alone_cpu.weights


async def test_estimates_need_no_installed_library(bare_interpreter, driver, write_model, tmp_path):
    driver()
    folder = write_model(tmp_path / "model", tensors=weights(), **CONFIG)
    request = OpenRequest(model=str(folder), python=bare_interpreter.python)
    assert (await ExLlamaV3Backend().estimate(request)).devices[0].device == "Paper GPU"


async def test_compute_memory_is_the_larger_of_mlp_and_head(estimated, driver):
    driver()
    gpu, _ = (await estimated("exllamav3")).devices
    assert gpu.compute == CONTEXT * (4 * HIDDEN + 4 * WIDE)
    gpu, _ = (await estimated("exllamav3", max_seq_len=256)).devices
    assert gpu.compute == max(2 * 256 * 384, 256 * (4 * HIDDEN + 4 * WIDE))
