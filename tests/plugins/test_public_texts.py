"""Texts for people: counts, sizes, what looks like a key, and the commands that install optional parts."""

import importlib.util
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires

import pytest

from paragone.texts import (
    counted,
    install_command,
    is_key,
    pip_install,
    shortened,
    size_text,
    without_key_words,
    without_keys,
)


def test_counts_have_their_nouns():
    assert [counted(count, "prompt") for count in (0, 1, 2000)] == ["0 prompts", "1 prompt", "2,000 prompts"]
    assert [counted(count, "vote is", "votes are") for count in (1, 2)] == ["1 vote is", "2 votes are"]


def test_texts_are_shortened_to_their_length():
    assert [shortened(text, 5) for text in ("", "12345", "123456", "123 56")] == [
        "",
        "12345",
        "1234…",
        "123…",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, ""),
        (12_300, "12 kB"),
        (97_300_000, "97 MB"),
        (4_140_000_000, "4.1 GB"),
    ],
)
def test_sizes_have_decimal_units(size, text):
    assert size_text(size) == text


@pytest.fixture(params=[True, False], ids=["pip", "uv"])
def has_pip(request, monkeypatch):
    """Whether the interpreter has pip. An environment that uv made has none."""
    real = importlib.util.find_spec
    spec = real("pytest") if request.param else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "pip" else real(name))
    return request.param


def test_the_command_names_the_packages_for_this_interpreter(has_pip):
    command = shlex.split(install_command("llama-cpp-prebuilt"))
    if has_pip:
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
    else:
        assert command[:5] == ["uv", "pip", "install", "--python", sys.executable]
    packages = {word.partition("=")[0].partition("<")[0] for word in command if word[0] != "-"}
    assert {"xllamacpp", "numpy", "jinja2"} <= packages
    # The name is free on the index: whoever takes it must not be installed.
    assert "paragone" not in packages


def test_every_package_of_an_extra_is_named():
    declared = [line for line in requires("paragone") or [] if line.endswith("extra == 'experiments'")]
    assert len(declared) >= 4
    command = install_command("experiments")
    assert all(line.partition(";")[0].strip() in shlex.split(command) for line in declared)


def test_options_are_passed_on(has_pip):
    assert pip_install("--no-deps", "a b").endswith(
        "install --no-deps 'a b'" if has_pip else " --no-deps 'a b'"
    )


def test_an_interpreter_without_paragones_metadata_names_the_extra(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", missing)
    assert install_command("remote") == f"the packages of paragone's extra remote, for {sys.executable}"


@pytest.mark.parametrize(
    ("is_one", "texts"),
    [
        (True, "sk-verysecret sk%2Dverysecret AKIAIOSFODNN7EXAMPLE 0123456789abcdef0123456789abcdef 01234567890123456789 "
               "a3f2c1d4-1111-2222-3333-444455556666 •••"),
        (False, " v1 openai gpt-4o-mini-2024-07-18 my-long-project-1234 OpenHermesMistralInstruct GPU_BOX_KEY2 $NAME 8000"),
    ],
)  # fmt: skip
def test_keys_are_recognized(is_one, texts):
    assert {text: is_key(text) for text in texts.split(" ")} == dict.fromkeys(texts.split(" "), is_one)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("openai:m@http://u:p@h:1/v1/sk-verysecret/x?key=abc#f", "openai:m@http://h:1/v1/•••/x"),
        ("See http://h:80/v1. And https://a/b?c=d, 'http://h?k=v'.", "See http://h:80/v1. And https://a/b, 'http://h'."),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("no url: a?b=c#d me@box", "no url: a?b=c#d me@box"),
    ],
)  # fmt: skip
def test_keys_in_urls_are_removed(text, public):
    assert without_keys(text) == public


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("runs the command echo sk-verysecret", "runs the command echo •••"),
        ("headers = Authorization: Bearer ab/cd+ef1==", "headers = Authorization: Bearer •••"),
        ("The key 'sk-verysecret', --api-key=hf_0123456789.", "The key '•••', --api-key=•••."),
        ("at http://h/?k=sk-verysecret", "at http://h/"),
        ("Basic authentication is required.", "Basic authentication is required."),
        ("reads /m/0123456789abcdef0123/m.gguf", "reads /m/0123456789abcdef0123/m.gguf"),
        ("sends to its server: key_env = GPU_BOX_KEY2", "sends to its server: key_env = GPU_BOX_KEY2"),
    ],
)
def test_keys_among_words_are_removed(text, public):
    assert without_key_words(text) == public


@pytest.mark.parametrize(
    "around",
    ["<b>{}</b>", "“{}”", "{}…", "key={}&x=1", "&quot;{}&quot;", r'{{\"key\": \"{}\"}}', r"{}\n", "%22{}%22", "{}\u200b",
     "\x1b[1m{}\x1b[0m", "({})."],
)  # fmt: skip
def test_a_key_is_found_in_any_context(around):
    """Gateways answer with HTML, JSON in JSON, and other text with the key in it."""
    key = "sk-proj-4f9aB2c8D1e7F3a6"
    public = without_key_words(around.format(key))
    assert key[8:] not in public
    assert "•••" in public


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("a" * 100_000, "a" * 100_000),
        ("a." * 50_000 + "://u:p@h", "a." * 50_000 + "://h"),
        ("http://h?k" + "." * 100_000 + "v", "http://h"),
        ("a-" * 50_000 + "/", "a-" * 50_000 + "/"),
    ],
    ids=["letters", "a scheme", "punctuation", "a part of a path"],
)
def test_removing_keys_takes_time_proportional_to_the_length(text, public):
    # the time limit of all tests ends a search whose time grows with the square of the length
    assert without_keys(text) == without_key_words(text) == public
