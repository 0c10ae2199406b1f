"""The sampling options in requests to the OpenAI-compatible server."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from paragone import Json, Options, option, shared_options
from paragone.shared_options import SamplingOptions
from paragone_workbench.serving.requests import ApiError, Fields, chat_request, completion_request

HI: Json = [{"role": "user", "content": "Say hello."}]


@pytest.mark.parametrize("read", [chat_request, completion_request])
def test_all_sampling_options_are_read(read):
    sampling: dict[str, Json] = {
        "max_tokens": 5,
        "top_k": 3,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "thinking": "low",
    }
    fields: dict[str, Json] = {
        "messages": HI,
        "prompt": "red ",
        **sampling,
        "temperature": None,
        "user": "me",
    }
    (choice,) = read(Fields(fields), SamplingOptions).choices
    assert choice.run.sampling == sampling
    for name, value in (("top_k", -1), ("top_k", "many"), ("min_p", 2), ("thinking", {"type": "enabled"})):
        with pytest.raises(ApiError) as refused:
            read(Fields({**fields, name: value}), SamplingOptions)
        assert (refused.value.status, refused.value.param) == (400, name)


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
    (choice,) = chat_request(Fields({"messages": HI, **texts}), Constrained).choices
    assert choice.run.sampling == texts
    for name, value in (
        ("grammar", "@/etc/hosts"),
        ("words", ["a", "@words"]),
        ("words", "@words"),
        ("json_schema", "@schema.json"),
        ("helper", "/bin/sh"),
    ):
        with pytest.raises(ApiError) as refused:
            chat_request(Fields({"messages": HI, name: value}), Constrained)
        assert (refused.value.status, refused.value.param) == (400, name)
        assert refused.value.message.endswith("names no file or program: the server uses none for clients.")
    both: dict[str, Json] = {"messages": HI, "json_schema": "{}", "response_format": {"type": "json_object"}}
    with pytest.raises(ApiError, match="Only one of response_format and json_schema"):
        chat_request(Fields(both), Constrained)
