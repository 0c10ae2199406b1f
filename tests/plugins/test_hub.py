"""Hugging Face's cache, as its own tools lay it out."""

import os
from pathlib import Path

import pytest

from paragone.files import repository_of, snapshot_folders, stored_file


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, "$XDG_CACHE_HOME/huggingface/hub"),
        ({"HF_HOME": "~/hf", "HF_HUB_CACHE": "$HOME/elsewhere"}, "$HOME/elsewhere"),
    ],
)
def test_the_folders_of_its_models_are_found_where_its_variables_say(monkeypatch, variables, place):
    place = os.path.expandvars(place)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert snapshot_folders() == []
    for repository in ("models--b--two", "models--a--one", "datasets--a--data"):
        Path(place, repository, "snapshots").mkdir(parents=True)
    assert snapshot_folders() == [
        f"{place}/models--a--one/snapshots",
        f"{place}/models--b--two/snapshots",
    ]


@pytest.mark.parametrize(
    ("path", "repository"),
    [
        ("/c/hub/models--owner--a--name/snapshots/0123/sub/x.gguf", "owner/a--name"),
        ("/c/hub/models--gpt2/snapshots/0123", "gpt2"),
        ("/c/hub/models--owner--name/blobs/0123", None),
        ("smollm2:135m", None),
    ],
)
def test_a_path_in_the_cache_says_its_repository(path, repository):
    assert repository_of(path) == repository


def test_a_file_is_known_by_its_blob(tmp_path):
    blob = tmp_path / "models--a--b/blobs/0123"
    link = tmp_path / "models--a--b/snapshots/ffff/x.gguf"
    for path in (blob, link):
        path.parent.mkdir(parents=True)
    blob.write_bytes(b"")
    link.symlink_to(blob)
    assert stored_file(str(link)) == str(blob.resolve())
    other = tmp_path / "x.gguf"
    other.symlink_to(blob)
    assert stored_file(str(other)) == str(other)
