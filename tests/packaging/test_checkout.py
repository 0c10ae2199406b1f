"""The files in the repository: none is large, none is a model, none has the address of a package registry."""

import re
from pathlib import Path

import pytest

LARGEST = 200_000  # bytes
# First bytes and suffixes of model files and tensor archives.
MODEL_MAGIC = (b"GGUF", b"GGML", b"ggjt", b"lmgg", b"tjgg")
MODEL_SUFFIXES = {".gguf", ".ggml", ".safetensors", ".bin", ".pt", ".pth", ".onnx", ".ckpt", ".npz"}
# A setting that selects a registry, or the address of one. A lock file with either would not work on other machines.
REGISTRY = re.compile(
    r"""
    ^\s*(?: --(?:extra-)?index-url | -i\s | --find-links | --trusted-host | \[\[tool\.uv\.index\]\]
          | (?:extra-)?index-url\s*= )
    | https?://[^\s"'<>)]*/simple\b
    | https?://[^\s"'<>)]*\.whl\b
    | \b(?:pypi|pythonhosted)[.]org\b
    """,
    re.MULTILINE | re.VERBOSE,
)


def test_no_file_is_large(tracked):
    assert [file for file in tracked if file.stat().st_size > LARGEST] == []


def test_no_file_is_a_model(tracked):
    def is_model(file: Path) -> bool:
        with file.open("rb") as opened:
            return opened.read(4) in MODEL_MAGIC or file.suffix in MODEL_SUFFIXES

    assert [file for file in tracked if is_model(file)] == []


@pytest.mark.thorough
def test_no_registry_is_named(tracked):
    found = []
    for file in tracked:
        text = file.read_bytes().decode(errors="replace")
        found += [f"{file}: {match[0]}" for match in REGISTRY.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://mirror.invalid/",
        "  [[tool.uv.index]]",
        "# from https://mirror.invalid" + "/simple",
    ],
)
def test_registries_are_recognized(line):
    assert REGISTRY.search(f"numpy==2.0\n{line}\n")
