"""Loading: progress, options, the description of the model, and invalid input."""

import os
import shutil
import subprocess
import sys

import pytest

from paragone import EngineError, InputError, Message, Token, TokenizeRequest, WeightsFile
from paragone.threads import OPENMP
from paragone_llama_cpp.c_api import lib

pytestmark = pytest.mark.model


def test_the_loaded_model_describes_how_it_was_opened(chat, model_path):
    loaded = chat.loaded
    assert loaded.context == 1024
    assert (loaded.architecture, loaded.quantization) == ("llama", "Q4_1")
    assert 0.95 < loaded.size / os.path.getsize(model_path) < 1, "the header is small"
    assert loaded.cautions == ()
    assert loaded.facts["threads"] == "1"
    assert (loaded.facts["K cache"], loaded.facts["V cache"]) == ("f16", "f16")
    assert loaded.facts["layers on a GPU"]
    assert loaded.facts["origin"]


def test_a_build_without_gpu_support_is_reported_if_there_is_a_gpu(monkeypatch):
    from paragone_llama_cpp import library

    cpus = [device for device in library.devices() if not device.gpu]
    monkeypatch.setattr(library, "devices", lambda: cpus)
    monkeypatch.setattr(library, "has_nvidia_gpu", lambda: True)
    assert "built for the CPU only" in library.facts()["GPU"]


def test_loading_can_be_cancelled_even_during_warm_up(open_chat, make_stop):
    stop = make_stop()
    with pytest.raises(EngineError, match="cancelled"):
        open_chat(report=lambda fraction: stop.ask() if fraction > 0.2 else None, stop=stop)
    # Loading subscribes once, when only warming up is left to do.
    stop = make_stop(on_subscribe=lambda stop: stop.ask())
    with pytest.raises(EngineError, match="cancelled"):
        open_chat(stop=stop)


def test_the_context_is_bounded_by_memory(open_chat, monkeypatch):
    from paragone_llama_cpp import model as memory

    # For each token: 2 layers, 3 heads of 64 numbers, K and V in f16. A quarter of the memory may be used.
    monkeypatch.setattr(memory, "_free", lambda *_: 4 * 4300 * 2 * 3 * 64 * 2 * 2)
    loaded = open_chat(n_ctx=None, flash_attn="on").loaded
    assert loaded.context == 4096
    assert [caution.code for caution in loaded.cautions] == ["context-reduced"]
    # Without flash attention, there are also attention scores of 9 heads for each token of a slice.
    assert open_chat(n_ctx=None, flash_attn="off", n_batch=128).loaded.context == 1024


def test_the_base_frequency_reaches_the_library(chat, open_chat):
    ids = (504, 260, 253, 338, 281, 216)
    assert open_chat(rope_freq_base=500.0).logprobs(ids) != pytest.approx(chat.logprobs(ids), abs=0.01)


def test_flash_attention_is_off_on_the_cpu_unless_it_is_needed(open_chat):
    def used(**options):
        return open_chat(n_gpu_layers=0, **options).loaded.facts["flash attention"]

    assert [used(), used(flash_attn="on"), used(type_v="q8_0")] == ["off", "on", "on"]


def test_memory_limits_of_control_groups_are_respected(tmp_path):
    from paragone_llama_cpp.model import available

    def group(name, **files):
        folder = tmp_path / "groups" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file.replace("__", ".")).write_text(content)

    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 32000000 kB\nMemAvailable:   16000000 kB\n")
    whose = tmp_path / "self" / "cgroup"

    def free():
        return available(tmp_path, tmp_path / "groups")

    whose.write_text("0::/user/me\n")
    assert free() == 16_384_000_000
    # The process's own group has no limit, its parent has one. The file cache there is reclaimable memory.
    statistics = "anon 5\nactive_file 1000000000\ninactive_file 2000000000\n"
    group("user/me", memory__max="max\n", memory__current="1\n", memory__stat="anon 1\n")
    group("user", memory__max="8000000000\n", memory__current="6000000000\n", memory__stat=statistics)
    assert free() == 5_000_000_000
    # Version 1 of control groups, in a container that sees only the root of its group.
    whose.write_text("4:cpu,memory:/docker/abc\n")
    statistics = "inactive_file 7\ntotal_active_file 0\ntotal_inactive_file 500000000\n"
    files = {"memory__limit_in_bytes": "3000000000\n", "memory__usage_in_bytes": "1000000000\n"}
    group("memory", **files, memory__stat=statistics)
    assert free() == 2_500_000_000


def test_a_run_uses_its_own_threads_or_those_of_loading(chat, open_chat):
    def used(chat, threads):
        chat.ask("Hello", max_tokens=1, threads=threads)
        return lib.llama_n_threads(chat.engine._model.context.pointer)

    assert [used(chat, 2), used(chat, None)] == [2, 1]
    assert used(open_chat(n_threads=1), 2) == 1  # the load option overrides those of a run


def test_the_scale_of_a_lora_adapter_changes_the_answer(open_chat, model_path, tmp_path, make_gguf):
    numpy = pytest.importorskip("numpy")
    random = numpy.random.default_rng(1)
    tensors = []
    for layer in range(2):
        down, up = random.standard_normal((2, 576), numpy.float32)
        tensors += [
            (f"blk.{layer}.attn_q.weight.lora_a", (576, 1), 0, down.tobytes()),
            (f"blk.{layer}.attn_q.weight.lora_b", (1, 576), 0, up.tobytes()),
        ]
    kind = {"general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora"}
    path = tmp_path / "adapter.gguf"
    path.write_bytes(make_gguf({**kind, "adapter.lora.alpha": 1.0}, tensors))

    def answer(**options):
        return open_chat(**options).ask("Name a fruit.", temperature=0, max_tokens=8)[0]

    assert answer(lora=str(path), lora_scale=0.0) == answer()
    assert answer(lora=str(path)) != answer()
    weights = open_chat(lora=str(path)).loaded.weights
    assert [file.path for file in weights][1:] == [str(path)]
    assert weights[1] == WeightsFile.of(path)
    other = tmp_path / "other.gguf"
    other.write_bytes(
        make_gguf({**kind, "general.architecture": "qwen2", "adapter.lora.alpha": 1.0}, tensors)
    )
    with pytest.raises(InputError, match=r"other\.gguf cannot be applied"):
        open_chat(lora=str(other))
    with pytest.raises(InputError, match="is not a LoRA adapter"):
        open_chat(lora=model_path)


def test_insufficient_memory_is_reported(whole_model_path):
    # In a separate process, whose memory limit suffices for the library but not for the weights.
    code = (
        "import os, resource, sys\n"
        "from pathlib import Path\n"
        "from paragone import EngineError\n"
        "from paragone_llama_cpp import library\n"
        "from paragone_llama_cpp.model import load_model\n"
        "from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions\n"
        "library.load()\n"
        "print(os.environ['GOMP_SPINCOUNT'])\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000,) * 2)\n"
        "try:\n"
        "    load_model(Path(sys.argv[1]), LlamaCppLoadOptions(), lambda part: None, False)\n"
        "except EngineError as error:\n"
        "    print(error.message)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-c", code, whole_model_path]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    # Threads that wait give their cores away soon. libgomp reads the variable when it is loaded.
    assert result.stdout.splitlines()[0] == OPENMP["GOMP_SPINCOUNT"]
    assert "SmolLM2-135M-Instruct.Q4_1.gguf does not fit in memory" in result.stdout


def test_an_abort_of_the_library_ends_the_log_with_its_reason():
    code = (
        "import ctypes, os\n"
        "from paragone_llama_cpp import library\n"
        "print(os.environ['GOMP_SPINCOUNT'], flush=True)\n"
        "ctypes.CDLL(str(library.load().file)).ggml_abort(b'file.c', 7, b'the reason: %s', b'none')\n"
    )
    environment = {**os.environ, "GOMP_SPINCOUNT": "7"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode < 0
    assert result.stdout == "7\n"  # as the user wants it
    assert result.stderr.strip().endswith("file.c:7: the reason: none")


def test_without_a_template_or_a_gpu_there_are_warnings(open_chat):
    from paragone_llama_cpp import library

    chat = open_chat(chat_template="", n_gpu_layers=10)
    codes = ["no-chat-template"] if library.supports_gpu_offload() else ["no-chat-template", "no-gpu"]
    assert [caution.code for caution in chat.loaded.cautions] == codes
    messages = [Message(role="user", text="The capital of France is")]
    text = TokenizeRequest(text="The capital of France is")
    assert chat.count(messages) == len(chat.engine.tokenize(text).ids)


THINKING_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
)


def test_a_thinking_budget_ends_the_thinking(open_chat):
    chat = open_chat(chat_template=THINKING_TEMPLATE)
    for budget in (1, 5):
        events = chat.events("Go.", temperature=0, max_tokens=20, thinking=budget, json_schema='{"const": 7}')
        tokens = [event for event in events if isinstance(event, Token) and event.text.strip()]
        assert len([token for token in tokens if token.channel == "thinking"]) <= budget
        assert "".join(token.text for token in tokens if token.channel == "answer") == "7"
        assert events[-1].reason == "stop"


def test_text_after_a_thinking_tag_in_the_template_is_on_the_thinking_channel(open_chat, tmp_path):
    path = tmp_path / "thinking.jinja"
    path.write_text(THINKING_TEMPLATE)
    chat = open_chat(chat_template=f"@{path}")
    for constraint in ({"grammar": 'root ::= "7"'}, {"json_schema": '{"const": 7}'}):
        free = chat.events("Go.", temperature=0, max_tokens=6, **constraint)
        tokens = [event for event in free if hasattr(event, "channel")]
        # The constraint applies to the answer only.
        assert {token.channel for token in tokens} == {"thinking"}
        assert "".join(token.text for token in tokens) != "7"
        text, finish = chat.ask("Go.", thinking=False, temperature=0, **constraint)
        assert (text, finish.reason) == ("7", "stop")


def test_invalid_files_raise_input_errors_that_name_the_file(open_chat, model_path, tmp_path, make_gguf):
    with open(model_path, "rb") as file:
        start = file.read(2_000_000)
    cases = {
        "missing.gguf": (None, "There is no file"),
        "empty.gguf": (b"", "is empty"),
        "picture.gguf": (b"\x89PNG" + bytes(64), "is not a GGUF file"),
        "old.gguf": (make_gguf({}, version=1), "version 1"),
        "cut.gguf": (start[:100_000], "is truncated"),
        "half.gguf": (start, "not within the file bounds"),
        "unknown.gguf": (make_gguf({"general.architecture": "lxama"}), "unknown model architecture: 'lxama'"),
        "hollow.gguf": (make_gguf({"general.architecture": "llama"}), "could not load"),
        "embed.gguf": (
            make_gguf({"general.architecture": "bert", "bert.attention.causal": False}),
            "embedding",
        ),
        "lora.gguf": (make_gguf({"general.type": "adapter"}), "LoRA adapter"),
        "part-00002-of-00003.gguf": (make_gguf({"general.architecture": "llama"}), "later part"),
        "part-00001-of-00003.gguf": (make_gguf({"general.architecture": "llama"}), "part 3 is missing"),
    }
    for name, (content, _) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    for name, (_, reason) in cases.items():
        with pytest.raises(InputError, match=reason) as caught:
            open_chat(tmp_path / name)
        assert name in caught.value.message
        assert "\n" not in caught.value.message


def test_a_folder_is_refused_as_a_model(open_chat, tmp_path):
    with pytest.raises(InputError, match="is a folder") as caught:
        open_chat(tmp_path)
    assert caught.value.hint == "Name a .gguf file."
    (tmp_path / "a.gguf").touch()
    with pytest.raises(InputError, match="is a folder") as caught:
        open_chat(tmp_path)
    assert ".gguf files in it" in caught.value.hint


def test_a_pipe_or_an_invalid_path_raises_an_input_error(open_chat, tmp_path):
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(InputError, match="cannot be read: Not a regular file"):
        open_chat(tmp_path / "pipe.gguf")
    with pytest.raises(InputError, match="is not a valid file path"):
        open_chat("a\0b.gguf")


def test_a_file_without_permission_raises_an_input_error(open_chat, model_path, tmp_path, monkeypatch):
    path = tmp_path / "secret.gguf"
    shutil.copyfile(model_path, path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read it in spite of the mode: simulate the refusal
        real = os.open

        def refuse(name, *args, **kwargs):
            if str(name) == str(path):
                raise PermissionError(13, "Permission denied", name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=r"no permission to read .*secret\.gguf"):
        open_chat(path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"type_v": "q8_0", "flash_attn": "off"}, "type_v"),
        ({"main_gpu": 0, "tensor_split": [1.0]}, "Only one"),
        ({"tensor_split": [1.0] * 500}, "tensor_split"),
        ({"rpc_servers": ["127.0.0.1:1"]}, "RPC"),
        ({"lora": "/nowhere.gguf"}, "lora: the file /nowhere.gguf cannot be read"),
        ({"chat_template": "{% for"}, "chat template"),
        ({"chat_template": "@/nowhere.jinja"}, "chat_template"),
        ({"n_ctx": 0}, "n_ctx"),
    ],
)
def test_invalid_load_options_raise_input_errors(open_chat, options, reason):
    with pytest.raises((InputError, EngineError), match=reason):
        open_chat(**options)
