"""What is read in a log: the facts of a server on a GPU, and the lines that tell why one died."""

import pytest

from paragone_remote.llama_server.process import facts_in_log, telling_lines

ON_A_GPU = """
0.01.067.778 I load_tensors: loading model tensors, this can take a while... (load_mode = mmap)
0.01.067.779 I load_tensors: offloaded 30/33 layers to GPU
0.01.076.544 I llama_context: n_batch               = 2048
0.01.076.545 I llama_context: n_ubatch              = 512
0.01.088.576 I llama_kv_cache: size =   22.50 MiB (   512 cells,  30 layers,  2/2 seqs), K (q8_0):   11.25 MiB, V (f16):   11.25 MiB
0.01.092.356 I resolve_fused_ops: Flash Attention enabled
0.02.067.779 I load_tensors: offloaded 5/5 layers to GPU
0.02.076.545 I llama_context: n_ubatch              = 64
"""
"""Lines of llama.cpp's source, of a model and its draft model; no GPU was at hand."""

WORKING = """0.01.1 I srv          init: chat template, example_format: '<|im_start|>system
You are a helpful assistant<|im_end|>
'
0.01.2 I srv          init: model loaded
"""


def test_the_facts_are_those_of_the_model_and_not_of_its_draft():
    assert facts_in_log(ON_A_GPU) == {
        "flash attention": "on",
        "batch size": "512",
        "K cache": "q8_0",
        "V cache": "f16",
        "layers on a GPU": "30 of 33",
    }


def test_without_such_lines_nothing_is_told():
    assert facts_in_log("llama-server is running") == {}


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (WORKING, ()),
        (
            WORKING + "0.02.1 E ggml_cuda: out of memory\n0.02.2 I srv: idle\n",
            ("0.02.1 E ggml_cuda: out of memory",),
        ),
        (
            WORKING + "ggml.c:12: GGML_ASSERT(n > 0) failed\nAborted\n",
            ("ggml.c:12: GGML_ASSERT(n > 0) failed", "Aborted"),
        ),
        (WORKING + "\ttop_k = 40, top_p = 0.950\n", ()),
        ("a build without levels\nit died\n", ("a build without levels", "it died")),
    ],
)
def test_the_lines_that_tell(log, told):
    assert telling_lines(log) == told
