"""Requests for embeddings, and the replies to them."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paragone import Embeddings, Json, Options
from paragone_workbench.serving.protocol.api_error import ApiError
from paragone_workbench.serving.protocol.fields import Fields
from paragone_workbench.serving.protocol.given import Given, given_in

_MOST_INPUTS = 2048
"""Largest number of texts in a request, as OpenAI defines it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEmbeddings:
    """A request for embeddings."""

    inputs: Sequence[Given]
    encoding: Literal["float", "base64"]


def embeddings_request(body: Fields, options: type[Options]) -> AskedEmbeddings:
    """Read a client's request for embeddings, on which the engine's options have no effect. Raises ApiError."""
    del options
    inputs = given_in(body, "input")
    if len(inputs) > _MOST_INPUTS:
        raise body.wrong("input", f"at most {_MOST_INPUTS:,} texts")
    if body.has("dimensions"):
        raise ApiError(
            400, "dimensions is not supported: a vector has the model's length.", param="dimensions"
        )
    match body.text("encoding_format"):
        case None | "float":
            return AskedEmbeddings(inputs=inputs, encoding="float")
        case "base64":
            return AskedEmbeddings(inputs=inputs, encoding="base64")
        case _:
            raise body.wrong("encoding_format", "float or base64")


def embeddings_reply(asked: AskedEmbeddings, found: Embeddings, model: str) -> Json:
    """Return the reply with all vectors."""
    encode = _in_base64 if asked.encoding == "base64" else list
    tokens = found.prompt_tokens or 0
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(found.vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _in_base64(vector: Sequence[float]) -> str:
    """Return a vector as 32-bit floats, little-endian, in base64."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers).decode("ascii")
