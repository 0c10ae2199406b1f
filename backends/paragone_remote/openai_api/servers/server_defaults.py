"""Read default sampling parameters and facts from the replies of servers that report them."""

from __future__ import annotations

import re

from paragone import Json
from paragone.json_fields import JsonObject, count_at, number_at, object_at, text_at
from paragone.options import describe
from paragone_remote.openai_api.openai_options import OpenAISampling
from paragone_remote.server_text import plain

_NUMBERS = tuple(info.name for info in describe(OpenAISampling) if info.kind == "number")

_OTHERS = {
    "mirostat": 0,
    "mirostat_mode": 0,
    "dry_multiplier": 0,
    "xtc_probability": 0,
    "typical_p": 1,
    "top_n_sigma": -1,
    "dynatemp_range": 0,
}
"""Samplers of llama.cpp that no option of paragone sets, and the values that turn these samplers off."""

_BUILD = re.compile(r"b\d+-([0-9a-f]{7,40})")
"""The `build_info` of `/props`, such as `b9123-1a2b3c4` (common/build-info.cpp in llama.cpp)."""

_RANDOM = 2**32 - 1
"""LLAMA_DEFAULT_SEED: with this seed, llama.cpp draws a new seed for each request."""


def values_in_props(props: JsonObject) -> JsonObject:
    """Return llama-server's values for options that a request does not set, from `/props`.

    The token limit in `/props` is not the limit that the server's argument `-n` sets.
    """
    return object_at(props, "default_generation_settings", "params")


def values_in_schema(described: JsonObject) -> JsonObject:
    """Return llama-cpp-python's values for options that a request does not set, from `/openapi.json`.

    Chats and completions have the same fields for sampling (llama_cpp/server/types.py).
    """
    fields = object_at(described, "components", "schemas", "CreateChatCompletionRequest", "properties")
    return {name: object_at(fields, name).get("default") for name in fields}


def sampling_defaults(values: JsonObject) -> dict[str, Json]:
    """Return the sampling options among a server's values, without the token limit."""
    # llama.cpp uses single precision, and reports 0.8 as 0.800000011920929
    found: dict[str, Json] = {
        name: float(f"{value:.7g}") for name in _NUMBERS if (value := number_at(values, name)) is not None
    }
    if (top_k := number_at(values, "top_k")) is not None:
        found["top_k"] = max(int(top_k), 0)
    if values:
        found["stop"] = []  # these servers add no stop sequences of their own
    return found


def sampling_facts(values: JsonObject) -> dict[str, str]:
    """Return the standard facts (`paragone.facts`) among a server's values."""
    known = {name: value for name in _OTHERS if (value := number_at(values, name)) is not None}
    active = [f"{name} {value:g}" for name, value in known.items() if value != _OTHERS[name]]
    facts = {"other samplers": ", ".join(active) or "none"} if known else {}
    if isinstance(lora := values.get("lora"), list):
        facts["LoRA adapter"] = f"{len(lora)} of the server's" if lora else "none"
    return facts


def seed_in(values: JsonObject) -> int | None:
    """Return the seed that llama-server was started with; None if the server draws a seed for each request."""
    seed = count_at(values, "seed")
    return None if seed is None or seed >= _RANDOM else seed


def build_in_props(props: JsonObject) -> dict[str, str]:
    """Return the standard facts of llama-server's build in `/props`."""
    build = _BUILD.fullmatch(plain(text_at(props, "build_info")))
    return {"program": "llama.cpp"} | ({"commit": build[1]} if build else {})
