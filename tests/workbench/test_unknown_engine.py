"""The name of a model instead of an engine, and what to write instead of a path or another name."""

import shutil

import pytest

from paragone_workbench.catalog import engine_named_after_model, hint_for
from paragone_workbench.engines.registry import Registry


@pytest.mark.model
async def test_the_hint_for_a_models_path_names_its_engine_spec(smollm2, home, monkeypatch):
    file = home / "My model.gguf"
    shutil.copy(smollm2, file)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    written = f"write: 'llama_cpp:{file}' or 'llama_server:{file}'"
    for text in (str(file), "~/My model.gguf", "My model.gguf"):
        assert await hint_for(text, Registry(), ()) == f"To use the model in this file, {written}"
    engine = await engine_named_after_model("My model", Registry(), [str(home)])
    assert engine is not None
    assert (engine.name, engine.backend, engine.model) == ("My model", "llama_cpp", str(file))
    copy = home / "other" / file.name
    copy.parent.mkdir()
    shutil.copy(smollm2, copy)
    assert await engine_named_after_model("My model", Registry(), [str(home)]) is None, (
        "two models have the name"
    )
    hint = await hint_for("My model", Registry(), [str(home)])
    assert hint.startswith("To use a model of this name, write: ")
    copy.unlink()
    folder = home / "kept" / "here"
    folder.mkdir(parents=True)
    file.rename(folder / "smol.gguf")
    hint = await hint_for("kept", Registry(), ())
    assert (
        hint
        == f"To use the model in this folder, write: llama_cpp:{folder}/smol.gguf or llama_server:{folder}/smol.gguf"
    )


async def test_other_files_and_folders_get_no_false_hint(home, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("hi")
    hint = await hint_for(str(tmp_path / "notes" / "a.txt"), Registry(), ())
    assert hint.startswith("No backend finds a model in this file. `paragone doctor`")
    assert await hint_for(str(tmp_path / "notes"), Registry(), ()) == ""
    assert await hint_for("/", Registry(), ()) == "", "it has the home folder, and is not searched"
