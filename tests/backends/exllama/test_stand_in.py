"""The stand-in, compared with the real sources: its parameters and results must match theirs."""

import ast
from pathlib import Path

import pytest
from exllama_real_sources import Sources, function_signature

STAND_IN = Path(__file__).with_name("stand_in")
PLACES = {
    "exllamav2": ("exllamav2", "exllamav2.generator"),
    "exllamav3": ("exllamav3", "exllamav3.model.lora"),
}

OURS = {
    # all caches of the stand-in are one class; the adapters never create the real base class
    ("ExLlamaV2CacheBase", "__init__"),
    # the real class is abstract, and created by from_directory
    ("Config", "__init__"),
}


def public(tree):
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and (part.name == "__init__" or part.name[0] != "_"):
                    yield node, part


@pytest.mark.parametrize("library", list(PLACES))
def test_its_parameters_are_some_of_the_real_librarys(library, sources):
    real, double = Sources(sources(library), library), Sources(STAND_IN, library)
    compared = 0
    for place in PLACES[library]:
        tree, _ = double.module(place)
        for owner, method in public(tree):
            if (owner.name, method.name) in OURS:
                continue
            there = real.find(place, owner.name)
            assert there is not None, f"there is no {owner.name} in the real {library}"
            if method.name == "choose":
                continue  # a method of the stand-in only
            member = real.member(*there, method.name)
            assert member is not None, f"there is no {owner.name}.{method.name} in the real {library}"
            ours, theirs = parameters(method), parameters(member[1])
            assert [one for one in theirs if one in ours] == ours, f"{owner.name}.{method.name}"
            compared += 1
    assert compared > 15


def parameters(node):
    """Return names, kinds and defaults in order; defaults that need imports are replaced by None."""
    found = []
    for parameter in function_signature(node, method=True).parameters.values():
        default = parameter.default
        if isinstance(default, str) and default.startswith("torch."):
            default = "None"
        found.append((parameter.name, parameter.kind, default))
    return found


@pytest.mark.parametrize("library", list(PLACES))
def test_its_error_messages_are_those_of_the_real_library(library, sources):
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (sources(library) / library).rglob("*.py")
        if "architecture" not in path.parts
    )
    said = {
        "exllamav2": ("Insufficient VRAM for model and cache", "Insufficient space in device allocation"),
        "exllamav3": ("Insufficient VRAM in split for model and cache", "CUDA out of memory"),
    }[library]
    assert [sentence for sentence in said if sentence not in text] == []
    assert "OutOfMemoryError" in text
