"""The addresses that engines at servers contact, and the options that contain addresses or secrets."""

import pytest

from paragone import Json
from paragone.options import address_option, describe
from paragone_remote.backend import OllamaBackend, OpenAIBackend

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_the_server_with_its_port(backend):
    for options, addresses in (
        ({"url": "http://box:8000"}, ("http://box:8000",)),
        ({"url": "https://Box.example/llm"}, ("https://box.example:443",)),
        ({"url": "http://[::1]:9"}, ("http://[::1]:9",)),
        ({"url": "http://user:secret@box:8000"}, ()),  # options that open no engine reach nothing
        ({"url": "http://box:99999"}, ()),
        ({"no_such_option": 1}, ()),
    ):
        assert backend.reaches("m", options) == addresses


def test_the_usual_place_is_reached_where_none_is_set():
    for options in ({}, {"url": None}):
        assert OllamaBackend().reaches("m", options) == ("http://127.0.0.1:11434",)
        assert OpenAIBackend().reaches("m", options) == ()  # it has none, and opening it fails


def test_a_proxy_is_reached_only_where_it_is_used(backend, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "other.example")
    options: dict[str, Json] = {"url": "https://box.example"}
    assert backend.reaches("m", options) == ("https://box.example:443",)
    options["use_proxy"] = True
    proxied = backend.reaches("m", options)
    assert proxied == ("https://box.example:443", "http://proxy.example:3128")
    assert "secret" not in repr(proxied)
    options["url"] = "http://box.example"
    assert backend.reaches("m", options) == ("http://box.example:80", "http://other.example:80")
    monkeypatch.setenv("NO_PROXY", "box.example")
    assert backend.reaches("m", options) == ("http://box.example:80",)


def test_options_say_which_is_the_address_and_which_are_secret(backend):
    address = address_option(backend.load_options)
    assert address is not None
    assert address.name == "url"
    assert {info.name for info in describe(backend.load_options) if info.secret} == {"headers", "key_command"}
    assert not [info for info in describe(backend.sampling) if info.secret or info.address]
