"""Prompts, vocabularies and the likeliest tokens, from servers that have endpoints for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone import (
    Alternative,
    EngineError,
    Json,
    Message,
    TokenizedText,
    TokenizeRequest,
    Vocabulary,
    fingerprint,
)
from paragone.json_values import JsonObject, count_at, list_at, object_at, objects_at, text_at
from paragone_remote.answers import RenderedPrompt, scored_tokens
from paragone_remote.faults import data_of
from paragone_remote.openai_api.servers import ServerProperties
from paragone_remote.options import without_surrogates
from paragone_remote.transport import EndpointClient, InvalidReply

_RENDERED = (
    "model",
    "messages",
    "chat_template_kwargs",
    "reasoning_effort",
    "continue_final_message",
    "add_generation_prompt",
)
"""Fields of a chat request that the rendered prompt depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The prompts of one model at one server. The methods raise EngineError or the exceptions in `faults.FAULTS`."""

    http: EndpointClient
    model: str
    server: ServerProperties
    raw: bool
    """Whether prompts are plain text for `/v1/completions`."""

    async def tokenized(self, request: TokenizeRequest, body: Mapping[str, Json]) -> TokenizedText:
        where = f"The server at {self.http.endpoint.origin}"
        if not tokenizes(self.server, raw=self.raw):
            if self.server.kind != "llama-cpp-python":
                raise EngineError(f"{where} does not report the tokens of a prompt.")
            raise EngineError(
                f"{where} reports the tokens of a text, but not the text that its chat template renders."
            )
        if not request.messages:
            return _answer(request, request.text, await self.ids_of_text(request.text))
        if has_images(request.messages):
            raise EngineError(f"{where} does not report the tokens of images.")
        prompt = await self.of_request(body, ids=True)
        assert prompt.ids is not None
        return _answer(request, prompt.text, prompt.ids)

    async def vocabulary(self) -> Vocabulary:
        if self.server.kind != "llama-server":
            raise EngineError(f"The server at {self.http.endpoint.origin} does not report its vocabulary.")
        listed = objects_at(data_of(await self.http.get(f"{self.http.endpoint.root}/v1/models")), "data")
        sizes = (count_at(entry, "meta", "n_vocab") for entry in listed if text_at(entry, "id") == self.model)
        if not (size := next(filter(None, sizes), None)):
            raise EngineError(
                f"The server at {self.http.endpoint.origin} does not report the size of its vocabulary."
            )
        # The path also takes token ids.
        every: dict[str, Json] = {"content": list(range(size)), "with_pieces": True}
        reply = await self._post("/tokenize", {"model": self.model, **every})
        return await asyncio.to_thread(_vocabulary_of, reply, size)

    async def of_request(self, body: Mapping[str, Json], *, ids: bool) -> RenderedPrompt:
        """Return the prompt of a chat or completion request, with its token ids if `ids` is set."""
        if isinstance(text := body.get("prompt"), str):
            return RenderedPrompt(text, await self.ids_of_text(text) if ids else None)
        wanted: dict[str, Json] = {name: body[name] for name in _RENDERED if name in body}
        if self.server.kind == "llama-server":
            rendered = (await self._post("/apply-template", wanted)).get("prompt")
            if not isinstance(rendered, str):
                raise InvalidReply("no prompt in the reply to a request for a prompt")
            return RenderedPrompt(
                without_surrogates(rendered), await self.ids_of_text(rendered) if ids else None
            )
        if self.server.kind == "vLLM" and ids:
            if wanted.pop("reasoning_effort", None) is not None:
                raise EngineError(
                    f"vLLM's /tokenize at {self.http.endpoint.origin} does not take the effort of thinking, which affects the prompt."
                )
            return RenderedPrompt(ids=_ids(await self._post("/tokenize", wanted)))
        return RenderedPrompt()

    async def ids_of_text(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a plain text, including the special tokens at its beginning."""
        body: dict[str, Json] = {"model": self.model}
        match self.server.kind:
            case "llama-server":
                # llama-server tokenizes the prompt of a completion in this way: tokenize_input_prompts in server-common.cpp
                body |= {"content": text, "add_special": True, "parse_special": True}
                return _ids(await self._post("/tokenize", body))
            case "vLLM":
                return _ids(
                    await self._post("/tokenize", {**body, "prompt": text, "add_special_tokens": True})
                )
            case _:
                return _ids(await self._post("/extras/tokenize", {**body, "input": text}))

    async def _post(self, path: str, body: Mapping[str, Json]) -> JsonObject:
        reply = await self.http.post(self.http.endpoint.root + path, json=body)
        # parse in a thread: the tokens of a long prompt or of a vocabulary take a while
        return await asyncio.to_thread(data_of, reply)


def tokenizes(server: ServerProperties, *, raw: bool) -> bool:
    """Whether a server reports the tokens of prompts. `raw` says whether the prompts are plain text."""
    return server.kind in ("llama-server", "vLLM") or (server.kind == "llama-cpp-python" and raw)


def _answer(request: TokenizeRequest, text: str | None, ids: tuple[int, ...]) -> TokenizedText:
    if request.count_only:
        return TokenizedText(text=None, ids=(), count=len(ids))
    return TokenizedText(text=text, ids=ids)


def has_images(messages: Sequence[Message]) -> bool:
    """Whether a conversation has images. No server reports the tokens of images."""
    return any(message.images for message in messages)


def _ids(reply: JsonObject) -> tuple[int, ...]:
    ids = tuple(count for item in list_at(reply, "tokens") if (count := count_at(item)) is not None)
    if reply.get("tokens") != list(ids):
        raise InvalidReply("a reply that is not a list of tokens")
    return ids


def _vocabulary_of(reply: JsonObject, size: int) -> Vocabulary:
    found = list_at(reply, "tokens")
    if len(found) != size:
        raise InvalidReply("a reply that is not its whole vocabulary")
    return Vocabulary(size=size, fingerprint=fingerprint(_pieces(found)))


def _pieces(found: Sequence[Json]) -> Iterator[bytes]:
    for token, entry in enumerate(found):
        piece = object_at(entry).get("piece")
        if count_at(entry, "id") != token:
            raise InvalidReply("tokens in a different order than requested")
        if isinstance(piece, str):
            yield piece.encode("utf-8", "surrogatepass")
        elif isinstance(piece, list):  # the bytes of a token that is not valid UTF-8
            yield _bytes(piece)
        else:
            raise InvalidReply("a token without its bytes")


def _bytes(found: Sequence[Json]) -> bytes:
    numbers = [number for number in found if isinstance(number, int) and 0 <= number < 256]
    if len(numbers) != len(found):
        raise InvalidReply("a token with invalid bytes")
    return bytes(numbers)


async def top_tokens_after(
    http: EndpointClient, model: str, ids: Sequence[int], top: int
) -> tuple[Alternative, ...]:
    """Return the likeliest tokens after `ids`, likeliest first. Raises EngineError or the exceptions in `faults.FAULTS`."""
    body: dict[str, Json] = {
        "model": model,
        "prompt": list(ids),
        "n_predict": 1,
        "n_probs": top,
        "temperature": 0,
        "cache_prompt": True,
    }
    reply = await http.post(f"{http.endpoint.root}/completion", json=body)
    generated = next(scored_tokens(objects_at(data_of(reply), "completion_probabilities")), None)
    if generated is None or not generated.top:
        raise EngineError(f"The server at {http.endpoint.origin} returned no log-probabilities.")
    return tuple(sorted(generated.top, key=lambda token: -token.logprob)[:top])
