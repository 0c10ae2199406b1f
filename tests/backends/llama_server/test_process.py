"""What is read in a log, and where a server listens: offline, one that needs a port is refused before its start."""

from pathlib import Path

import pytest

from paragone import InputError
from paragone.network import GUARD
from paragone_remote.llama_server.executable import LlamaServerProgram, facts_in_version
from paragone_remote.llama_server.process import facts_in_log, informative_lines, listen_at

ON_A_GPU = """
0.01.067.778 I load_tensors: loading model tensors, this can take a while... (load_mode = mmap)
0.01.067.779 I load_tensors: offloaded 30/33 layers to GPU
0.01.076.544 I llama_context: n_batch               = 2048
0.01.076.545 I llama_context: n_ubatch              = 512
0.01.088.576 I llama_kv_cache: size =   22.50 MiB (   512 cells,  30 layers,  2/2 seqs), K (q8_0):   11.25 MiB, V (f16):   11.25
MiB 0.01.092.356 I resolve_fused_ops: Flash Attention enabled
0.02.067.779 I load_tensors: offloaded 5/5 layers to GPU
0.02.076.545 I llama_context: n_ubatch              = 64
"""
"""Lines of llama.cpp's source, of a model and its draft model; no GPU was at hand."""

WORKING = """0.01.1 I srv          init: chat template, example_format: '<|im_start|>system
You are a helpful assistant<|im_end|>
'
0.01.2 I srv          init: model loaded
"""


def test_facts_in_the_log_belong_to_the_model_not_its_draft():
    assert facts_in_log(ON_A_GPU) == {
        "flash attention": "on",
        "batch size": "512",
        "K cache": "q8_0",
        "V cache": "f16",
        "layers on a GPU": "30 of 33",
    }


def test_instruction_sets_are_read_and_logs_without_facts_give_none():
    line = "0.00 I cmn: system_info: n_threads = 1 / 2 | CPU : AVX = 1 | AVX2 = 1 | FMA = 0 | ARCHS = 1200 |"
    assert facts_in_log(line) == {"instructions": "AVX, AVX2"}
    assert facts_in_log("llama-server is running") == {}


def test_the_build_is_read_from_the_version():
    """The texts are those of llama.cpp at the end of 2026 and of 2025."""
    for printed, told in (
        (
            "version: 0.5.0-dev (build 9123, commit 1a2b3c4)\nbuilt with GNU 13.3.0 for Linux x86_64\n",
            {"version": "0.5.0-dev", "commit": "1a2b3c4", "compiler": "GNU 13.3.0"},
        ),
        (
            "load: a backend\nversion: 6123 (1a2b3c4d)\nbuilt with cc (Ubuntu) 13.3.0 for x86_64-linux-gnu",
            {"commit": "1a2b3c4d", "compiler": "cc (Ubuntu) 13.3.0"},
        ),
        ("version: 0.5.0 (build 0, commit unknown)\n", {"version": "0.5.0"}),
        ("nothing of this kind", {}),
    ):
        assert facts_in_version(printed) == told


def test_informative_lines_of_the_log_are_found():
    memory = "0.02.1 E ggml_cuda: out of memory"
    for log, told in (
        (WORKING, ()),
        (f"{WORKING}{memory}\n0.02.2 I srv: idle\n", (memory,)),
        (
            f"{WORKING}ggml.c:12: GGML_ASSERT(n > 0) failed\nAborted\n",
            ("ggml.c:12: GGML_ASSERT(n > 0) failed", "Aborted"),
        ),
        (f"{WORKING}\ttop_k = 40, top_p = 0.950\n", ()),
        ("a build without levels\nit died\n", ("a build without levels", "it died")),
    ):
        assert informative_lines(log) == told


ABLE, UNABLE = {"--host": "address, or a path that ends in .sock: a Unix socket"}, {"--host": "address"}


@pytest.fixture
def offline():
    GUARD.is_offline = True


def program(flags):
    return LlamaServerProgram(command=("llama-server",), name="llama-server", flags=flags, key=())


@pytest.mark.usefixtures("offline")
def test_offline_a_server_at_a_unix_socket_runs():
    listening = listen_at(program(ABLE), None)
    assert Path(listening.socket).suffix == ".sock"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("flags", "port", "reason"),
    [
        (ABLE, 8080, "llama-server with port = 8080 needs it"),
        (UNABLE, None, "a llama-server that cannot listen at a Unix socket needs it"),
    ],
    ids=["a port that is set", "a build without Unix sockets"],
)
def test_offline_a_server_at_a_port_is_refused_by_name(flags, port, reason, monkeypatch):
    monkeypatch.setattr("socket.socket", None)  # as if the system refused sockets
    with pytest.raises(InputError, match=f"no engine's process gets network access, and {reason}"):
        listen_at(program(flags), port)


def test_online_the_engine_is_allowed_to_contact_its_port():
    GUARD.name((), "small")
    listening = listen_at(program(UNABLE), None)
    port = int(listening.origin.rpartition(":")[2])
    assert port
    GUARD.is_offline = True
    assert GUARD.cuts_off("small")
