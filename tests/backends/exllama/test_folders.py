"""Finding and describing model folders from their JSON files and the headers of their weights."""

import json
import os
import struct

import pytest

from paragone import InputError
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend
from paragone_exllama.model_folder import check_folder

V2, V3 = ExLlamaV2Backend(), ExLlamaV3Backend()


def tensor(dtype, *shape):
    size = {"I16": 2, "I32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}[dtype]
    for count in shape:
        size *= count
    return dtype, shape, bytes(size)


EXL2 = {"model.layers.0.mlp.up_proj.q_weight": tensor("I32", 32, 128)}
EXL3 = {"model.layers.0.mlp.up_proj.trellis": tensor("I16", 16, 8, 48)}


def gptq(bits):
    return {"model.layers.0.mlp.up_proj.qweight": tensor("I32", 256 * bits // 32, 128)}


def quantized(method, **more):
    return {"quantization_config": {"quant_method": method, **more}}


@pytest.mark.parametrize(
    ("tensors", "config", "v2", "v3"),
    [
        (EXL2, quantized("exl2", bits=4.0, head_bits=6), "EXL2 4.0 bpw", None),
        (EXL2, {}, "EXL2", None),
        (EXL3, quantized("exl3", bits=3), None, "EXL3 3.0 bpw"),
        (gptq(4), quantized("gptq", bits=4), "GPTQ 4-bit", None),
        (None, {}, "F16", "F16"),
        (gptq(4), quantized("awq", bits=4), None, None),
    ],
)
def test_formats_are_distinguished_by_their_tensors(tensors, config, v2, v3, write_model, tmp_path):
    folder = write_model(tmp_path / "models" / "some", tensors=tensors, **config)
    for backend, name in ((V2, v2), (V3, v3)):
        found = backend.find_models([str(tmp_path)])
        assert [model.quantization for model in found] == ([name] if name else [])
        for model in found:
            assert model.model == str(folder)
            assert (model.name, model.architecture, model.context) == ("some", "LlamaForCausalLM", 4096)
            assert model.size == (folder / "model.safetensors").stat().st_size - _header(folder)
            assert model.problem == ""


def _header(folder):
    with (folder / "model.safetensors").open("rb") as file:
        return 8 + struct.unpack("<Q", file.read(8))[0]


def test_the_layout_of_the_download_cache_is_recognized(write_model, tmp_path):
    write_model(tmp_path / "models--someone--tiny--llama" / "snapshots" / "0123abcd")
    (model,) = V2.find_models([str(tmp_path)])
    assert model.name == "someone/tiny--llama"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_pipe_in_a_model_folder_does_not_block(name, write_model, tmp_path):
    write_model(tmp_path / "model")
    odd = write_model(tmp_path / "odd")
    (odd / name).unlink(missing_ok=True)
    os.mkfifo(odd / name)
    found = {model.name: model.problem for model in V2.find_models([str(tmp_path)])}
    assert found["model"] == ""
    assert (
        found.get("odd")
        in {
            "config.json": (None,),
            "model.safetensors": ("cannot be loaded: model.safetensors is not a file",),
            "model.safetensors.index.json": ("",),
        }[name]
    )


def test_models_that_do_not_generate_text_are_not_listed(write_model, tmp_path):
    write_model(tmp_path / "encoder", architectures=["BertModel"])
    write_model(tmp_path / "odd", architectures="LlamaForCausalLM")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "config.json").write_text("{")
    (tmp_path / "junk" / "x.safetensors").touch()
    assert V2.find_models([str(tmp_path)]) == []


def spoil_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def spoil_index(folder):
    weights = {"a": "model.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))


def spoil_end(folder):
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size - 1)


def spoil_header(folder):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 9) + b'{"a": 1}}')


def spoil_all(folder):
    (folder / "model.safetensors").write_bytes(b"<html>Not found</html>")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoil_tokenizer, "has no tokenizer.json"),
        (spoil_index, "lacks 2 of its 3 weight files, such as model-2.safetensors"),
        (spoil_end, "cannot be loaded: model.safetensors is truncated"),
        (spoil_header, "cannot be loaded: model.safetensors is damaged: its header cannot be read"),
        (spoil_all, "cannot be loaded: model.safetensors is not a safetensors file"),
    ],
)
def test_a_damaged_model_is_listed_with_its_problem_and_not_opened(spoil, problem, write_model, tmp_path):
    folder = write_model(tmp_path / "some")
    spoil(folder)
    (model,) = V3.find_models([str(tmp_path)])
    assert model.problem == problem
    with pytest.raises(InputError) as caught:
        check_folder(folder, ("EXL3", "plain"), "ExLlamaV3")
    assert caught.value.message == f"some {problem}."


def test_unsupported_formats_are_refused_with_the_supported_ones(write_model, tmp_path):
    def refused(path):
        with pytest.raises(InputError) as caught:
            check_folder(path, ("EXL2", "GPTQ", "plain"), "ExLlamaV2")
        return str(caught.value)

    folder = write_model(tmp_path / "newer", tensors=EXL3, **quantized("exl3", bits=4.0))
    assert refused(folder) == (
        "newer is stored as EXL3 4.0 bpw, which ExLlamaV2 does not load. "
        "ExLlamaV2 loads EXL2, 4-bit GPTQ, unquantized weights."
    )
    assert refused(folder / "model.safetensors").endswith(f"Name the folder of this file: {folder}.")
    assert refused(tmp_path / "none") == f"There is no folder {tmp_path / 'none'}. Check the path."
    assert "has no config.json" in refused(tmp_path)
    assert "only 4-bit GPTQ" in refused(
        write_model(tmp_path / "eight", tensors=gptq(8), **quantized("gptq", bits=8))
    )


@pytest.mark.parametrize(
    ("tensors", "config", "quantization"),
    [
        (EXL2, quantized("exl2", bits=float("nan")), "EXL2"),
        (EXL2, quantized({"a": 1}, bits="4"), "EXL2"),
        (None, {"max_position_embeddings": -1, "num_hidden_layers": 10**400}, "F16"),
    ],
)
def test_implausible_numbers_and_shapes_are_refused(tensors, config, quantization, write_model, tmp_path):
    write_model(tmp_path / "other")
    folder = write_model(tmp_path / "some", tensors=tensors, **config)
    found = {model.name: model for model in V2.find_models([str(tmp_path)])}
    assert (found["some"].quantization, found["some"].problem) == (quantization, "")
    assert found["some"].context in (None, 4096)
    assert set(found) == {"some", "other"}
    assert check_folder(folder, ("EXL2", "plain"), "ExLlamaV2").cache_numbers >= 0
