"""Loading: progress, options, what is said of the model, and every bad input."""

import os
import shutil
import subprocess
import sys

import pytest

from paragone import EngineError, InputError, Message
from paragone.options import describe
from paragone_llama_cpp.options import LlamaCppLoadOptions, LlamaCppSampling

pytestmark = pytest.mark.model


def test_the_loaded_model_says_how_it_was_opened(chat):
    loaded = chat.loaded
    assert loaded.context == 1024
    assert (loaded.architecture, loaded.quantization) == ("llama", "Q4_1")
    assert loaded.size > 90_000_000
    assert loaded.cautions == ()
    assert loaded.facts["threads"] == "1"
    assert loaded.facts["KV cache"] == "K f16, V f16"
    assert loaded.facts["layers on a GPU"]
    assert loaded.facts["llama-cpp-python"]


def test_probe_tells_the_build():
    from paragone_llama_cpp.engine import LlamaCppEngine

    probe = LlamaCppEngine.probe()
    assert probe.usable
    assert {"llama-cpp-python", "llama.cpp", "build", "devices", "GPU"} <= set(probe.facts)
    assert "CPU" in probe.facts["devices"]


def test_a_build_without_a_gpu_says_so_where_there_is_one(monkeypatch):
    from paragone_llama_cpp import library

    monkeypatch.setattr(library, "offloads", lambda: False)
    monkeypatch.setattr(library, "has_nvidia_gpu", lambda: True)
    assert "built for the CPU alone" in library.facts()["GPU"]


def test_progress_goes_from_nothing_to_all(open_chat):
    fractions = []
    open_chat(report=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 3


def test_loading_can_be_cancelled(open_chat, make_stop):
    stop = make_stop()
    with pytest.raises(EngineError, match="given up"):
        open_chat(report=lambda fraction: stop.ask() if fraction > 0.2 else None, stop=stop)


def test_layers_asked_of_a_gpu_that_is_not_used_are_a_caution(open_chat, monkeypatch):
    from paragone_llama_cpp import library

    monkeypatch.setattr(library, "offloads", lambda: False)
    asked = open_chat(n_gpu_layers=10).loaded.cautions
    assert [caution.code for caution in asked] == ["no-gpu"]


def test_the_context_is_bounded_by_memory(open_chat, monkeypatch):
    from paragone_llama_cpp import memory

    # 23,040 bytes a token: 30 layers, 3 heads of 64 numbers, K and V in f16.
    monkeypatch.setattr(memory, "_free", lambda model, options: 2 * 1100 * 23_040)
    loaded = open_chat(n_ctx=None).loaded
    assert loaded.context == 1024
    assert [caution.code for caution in loaded.cautions] == ["context-reduced"]


def test_options_reach_the_library(open_chat):
    chat = open_chat(
        n_ctx=256, n_batch=32, n_threads=1, type_k="q8_0", type_v="q8_0", flash_attn="on", rope_freq_base=1e5
    )
    assert chat.loaded.facts["KV cache"] == "K q8_0, V q8_0"
    assert chat.loaded.facts["prompt slice"] == "32 tokens"
    text, _ = chat.ask("Name the capital of France in one sentence.", temperature=0, max_tokens=12)
    assert "France" in text


def test_without_a_template_the_text_is_completed_and_the_user_told(open_chat):
    chat = open_chat(chat_template="")
    assert [caution.code for caution in chat.loaded.cautions] == ["no-chat-template"]
    messages = [Message(role="user", text="The capital of France is")]
    assert chat.engine.count(messages) == len(["The", "capital", "of", "France", "is"])
    text, _ = chat.ask(messages, temperature=0, max_tokens=4)
    assert text.startswith(" Paris")


def test_a_template_that_opens_a_thinking_block_has_its_text_on_that_channel(open_chat, tmp_path):
    path = tmp_path / "thinking.jinja"
    path.write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
    )
    chat = open_chat(chat_template=f"@{path}")
    grammar = 'root ::= "Yes"'
    free = chat.events("Go.", temperature=0, max_tokens=6, grammar=grammar)
    tokens = [event for event in free if hasattr(event, "channel")]
    # The grammar binds the answer alone.
    assert {token.channel for token in tokens} == {"thinking"}
    assert "".join(token.text for token in tokens) != "Yes"
    text, finish = chat.ask("Go.", thinking=False, temperature=0, grammar=grammar)
    assert (text, finish.reason) == ("Yes", "stop")


def test_bad_files_are_input_errors_that_name_the_file(open_chat, model_path, tmp_path, make_gguf):
    with open(model_path, "rb") as file:
        start = file.read(2_000_000)
    cases = {
        "missing.gguf": (None, "There is no file"),
        "empty.gguf": (b"", "is empty"),
        "picture.gguf": (b"\x89PNG" + bytes(64), "is not a GGUF file"),
        "old.gguf": (make_gguf({}, version=1), "version 1"),
        "cut.gguf": (start[:100_000], "is truncated"),
        "half.gguf": (start, "is truncated: some of its weights are missing"),
        "unknown.gguf": (make_gguf({"general.architecture": "lxama"}), "architecture 'lxama'"),
        "hollow.gguf": (make_gguf({"general.architecture": "llama"}), "damaged"),
        "lora.gguf": (make_gguf({"general.type": "adapter"}), "LoRA adapter"),
        "part-00002-of-00003.gguf": (make_gguf({"general.architecture": "llama"}), "later part"),
        "part-00001-of-00003.gguf": (make_gguf({"general.architecture": "llama"}), "missing: 3"),
    }
    for name, (content, _) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    for name, (_, reason) in cases.items():
        with pytest.raises(InputError, match=reason) as caught:
            open_chat(tmp_path / name)
        assert name in caught.value.sentence
        assert "\n" not in caught.value.sentence


def test_a_folder_is_not_a_model(open_chat, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        open_chat(tmp_path)


def test_a_file_without_permission_is_an_input_error(open_chat, model_path, tmp_path, monkeypatch):
    path = tmp_path / "secret.gguf"
    shutil.copyfile(model_path, path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read it all the same: have the system refuse in its stead
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
        ({"main_gpu": 0, "tensor_split": [1.0]}, "only one"),
        ({"tensor_split": [1.0] * 500}, "tensor_split"),
        ({"rpc_servers": ["127.0.0.1:1"]}, "RPC"),
        ({"lora": "/nowhere.gguf"}, "LoRA adapter"),
        ({"chat_template": "{% for"}, "chat template"),
        ({"chat_template": "@/nowhere.jinja"}, "chat_template"),
        ({"n_ctx": "many"}, "n_ctx"),
        ({"n_ctx": 0}, "n_ctx"),
        ({"type_k": "q9"}, "type_k"),
        ({"n_gpu_layer": 1}, "n_gpu_layer"),
    ],
)
def test_bad_load_options_are_input_errors(open_chat, options, reason):
    from paragone_llama_cpp import library

    if "rpc_servers" in options and library.lib.llama_supports_rpc():
        pytest.skip("this build can use RPC")
    with pytest.raises((InputError, EngineError), match=reason):
        open_chat(**options)


def test_a_model_is_no_lora_adapter(open_chat, model_path):
    with pytest.raises(InputError, match="is not a LoRA adapter"):
        open_chat(lora=model_path)


@pytest.mark.parametrize("options", [LlamaCppLoadOptions, LlamaCppSampling])
def test_every_option_is_documented(options):
    for info in describe(options):
        assert info.doc.endswith("."), info.name
        assert len(info.doc) > 20, info.name


def test_no_option_stands_in_both():
    names = [info.name for options in (LlamaCppLoadOptions, LlamaCppSampling) for info in describe(options)]
    assert len(names) == len(set(names))


def test_the_application_imports_nothing_of_the_library():
    code = (
        "import sys; from paragone_llama_cpp.plugin import paragone_backends; paragone_backends()[0].find_models(['/nowhere']);"
        "import paragone_llama_cpp.demo;"
        "print([name for name in ('llama_cpp', 'numpy', 'jinja2') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
