"""Requests to the OpenAI-compatible server that name files and programs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from paragone import Json, Options, option, shared_options
from paragone_workbench.serving.requests import ApiError, chat_request

HI: Json = [{"role": "user", "content": "Say hello."}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrained(Options):
    grammar: str | None = option(None, "Grammar.", outside="text or file")
    words: tuple[str, ...] = option((), "Words.", outside="text or file")
    json_schema: str | None = shared_options.JSON_SCHEMA(None)
    helper: str | None = option(None, "Helper.", outside="program")


def test_a_client_names_no_file_or_program_of_the_server():
    texts: dict[str, Json] = {
        "grammar": "root ::= [a-z]",
        "words": ["a", "b@c"],
        "json_schema": '{"type": "object"}',
    }
    (choice,) = chat_request({"messages": HI, **texts}, Constrained, most_messages=1).choices
    assert choice.run.sampling == texts
    for name, value in (
        ("grammar", "@/etc/hosts"),
        ("words", ["a", "@words"]),
        ("words", "@words"),
        ("json_schema", "@schema.json"),
        ("helper", "/bin/sh"),
    ):
        with pytest.raises(ApiError) as refused:
            chat_request({"messages": HI, name: value}, Constrained, most_messages=1)
        assert (refused.value.status, refused.value.param) == (400, name)
        assert refused.value.message.endswith("names no file or program: the server uses none for clients.")
    both: dict[str, Json] = {"messages": HI, "json_schema": "{}", "response_format": {"type": "json_object"}}
    with pytest.raises(ApiError, match="Only one of response_format and json_schema"):
        chat_request(both, Constrained, most_messages=1)
