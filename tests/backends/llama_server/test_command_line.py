"""The arguments for different builds of llama-server, from what each prints as its help."""

import dataclasses
import os
from pathlib import Path

import pytest

from paragone import InputError
from paragone_remote.llama_server.executable import LlamaServerProgram, command_line, read_flags
from paragone_remote.options import LlamaServerLoadOptions, with_defaults

NEW = """
----- common params -----

-c,    --ctx-size N                     size of the prompt context (default: 0, 0 = loaded from model)
                                        (env: LLAMA_ARG_CTX_SIZE)
-t,    --threads N                      number of CPU threads (default: -1)
-tb,   --threads-batch N                number of threads for prompts
-b,    --batch-size N                   logical maximum batch size (default: 2048)
-ub,   --ubatch-size N                  physical maximum batch size (default: 512)
-fa,   --flash-attn [on|off|auto]       set Flash Attention use ('on', 'off', or 'auto', default: 'auto')
-ctk,  --cache-type-k TYPE              KV cache data type for K
-ngl,  --gpu-layers, --n-gpu-layers N   max. number of layers to store in VRAM
-np,   --parallel N                     number of server slots (default: -1, -1 = auto)
--offline                               Offline mode
--slots, --no-slots                     expose slots monitoring endpoint (default: enabled)
--ui,  --webui, --no-ui, --no-webui     whether to enable the Web UI (default: enabled)
-lv,   --verbosity, --log-verbosity N   Set the verbosity threshold.
                                         - 4: trace (more info)
--lora-scaled FNAME:SCALE,...           path to LoRA adapter with user defined scaling
--spec-draft-model, -md, --model-draft FNAME
                                        draft model for speculative decoding (default: unused)
--spec-type none,draft-simple,ngram-mod
                                        types of speculative decoding to use (default: none)
--spec-draft-n-max N                    number of tokens to draft for speculative decoding (default: 3)
--draft, --draft-n, --draft-max N       the argument has been removed. use --spec-draft-n-max or
                                        --spec-ngram-mod-n-max
--mmproj-auto, --no-mmproj, --no-mmproj-auto
                                        whether to use multimodal projector file
"""

OLD = """
-c,    --ctx-size N                     size of the prompt context (default: 4096)
-t,    --threads N                      number of threads
-tb,   --threads-batch N                number of threads for prompts
-b,    --batch-size N                   logical maximum batch size (default: 2048)
-ub,   --ubatch-size N                  physical maximum batch size (default: 512)
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
-md,   --model-draft FNAME              draft model for speculative decoding (default: unused)
--draft-max, --draft, --draft-n N       number of tokens to draft for speculative decoding (default: 16)
"""


def program(printed):
    return LlamaServerProgram(
        command=("llama-server",), name="llama-server", flags=read_flags(printed), key=()
    )


def line(printed, **options):
    return command_line(
        LlamaServerLoadOptions(**options), program(printed), model=Path("/m.gguf"), alias="m", threads=2
    )


def value(arguments, name):
    return arguments[arguments.index(name) + 1]


def test_arguments_are_found_by_each_name_without_removed_ones():
    flags = read_flags(NEW)
    assert flags["-ngl"] is flags["--n-gpu-layers"]
    assert flags["-fa"].startswith("[on|off|auto] set Flash Attention")
    assert "trace" in flags["-lv"]
    assert "--draft-max" not in flags
    assert "--draft-max" in read_flags(OLD)


def test_every_command_line_has_the_common_arguments():
    arguments = line(NEW)
    assert arguments[:4] == ["--model", "/m.gguf", "--alias", "m"]
    for flag in ("--offline", "--slots", "--no-ui", "--no-mmproj"):
        assert flag in arguments
    assert (value(arguments, "-lv"), value(arguments, "-t"), value(arguments, "-np")) == ("4", "2", "1")
    assert "-c" not in arguments
    assert not {"--offline", "--no-ui", "-lv"} & set(line(OLD))


def test_every_slot_has_the_whole_context():
    assert value(line(NEW, n_ctx=1000, n_parallel=4), "-c") == "4000"


def test_flash_attention_is_set_by_the_option():
    for setting in ("on", "off"):
        assert value(line(NEW, flash_attn=setting), "-fa") == setting


def test_a_pipe_is_refused_as_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"chat_template: the file .* cannot be read: Not a regular file"):
        line(NEW, chat_template=f"@{tmp_path / 'pipe'}")


def test_a_draft_model_sets_its_arguments(smollm2):
    new = line(NEW, draft_model=str(smollm2), draft_max=8)
    assert value(new, "--spec-type") == "draft-simple"
    assert value(new, "--spec-draft-n-max") == "8"
    old = line(OLD, draft_model=str(smollm2), draft_max=8)
    assert "--spec-type" not in old
    assert value(old, "--draft") == "8"


def test_an_option_unknown_to_the_program_is_refused():
    with pytest.raises(InputError, match="cannot set n_gpu_layers: it does not know -ngl"):
        line(OLD, n_gpu_layers=0)


def test_defaults_on_the_cpu_are_those_of_llama_cpp_and_on_a_gpu_the_program_decides():
    found = with_defaults(LlamaServerLoadOptions(), ())
    assert (found.flash_attn, found.n_batch) == ("off", 128)
    quantized = with_defaults(LlamaServerLoadOptions(type_v="q8_0", n_batch=32), ())
    assert (quantized.flash_attn, quantized.n_batch) == ("auto", 32)
    gpu = ("CUDA0: NVIDIA H100",)
    assert with_defaults(LlamaServerLoadOptions(), gpu) == LlamaServerLoadOptions()
    assert with_defaults(LlamaServerLoadOptions(n_gpu_layers=0), gpu).n_batch == 128


def test_a_tilde_in_paths_is_expanded(home):
    options = dataclasses.replace(LlamaServerLoadOptions(), lora="~/a.gguf")
    assert with_defaults(options, ()).lora == str(home / "a.gguf")
