"""A backend for servers that stream answers as OpenAI's API does."""

import json
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx

import paragone
from paragone import option
from paragone.hooks import hookimpl
from paragone.options import as_values, build


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLoad(paragone.Options):
    """Options that take effect when an engine is opened."""

    url: str = option("http://127.0.0.1:8000", "Address of the server.", address=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSampling(paragone.Options):
    """Options that each run can set."""

    max_tokens: int = option(1000, "Largest number of tokens in the answer.", minimum=1)
    temperature: float = option(0.8, "Sampling temperature.", minimum=0, maximum=2)


@contextmanager
def readable_errors():
    """Turn what goes wrong at the server into an error for the user."""
    try:
        yield
    except (httpx.HTTPError, ValueError, LookupError) as error:
        raise paragone.EngineError(f"The chat server failed: {error}.", hint="Is it running?") from error


async def model_names(url):
    with readable_errors():
        async with httpx.AsyncClient(base_url=url) as http:
            reply = (await http.get("/v1/models")).raise_for_status()
        return [model["id"] for model in reply.json()["data"]]


class ChatEngine(paragone.ServerEngine):
    """An open model on the server."""

    def __init__(self, url, model):
        super().__init__(paragone.LoadedModel(name=model))
        self.http = httpx.AsyncClient(base_url=url, timeout=60)

    async def answer(self, request):
        sampling = as_values(build(ChatSampling, request.sampling, owner="Chat"))
        yield paragone.RunSettings(sampling=sampling)
        messages = [{"role": message.role, "content": message.text} for message in request.messages]
        body = {"model": self.loaded.name, "messages": messages, "stream": True, **sampling}
        reason: paragone.FinishReason = "stop"
        with readable_errors():
            async with self.http.stream("POST", "/v1/chat/completions", json=body) as reply:
                reply.raise_for_status()
                async for line in reply.aiter_lines():
                    if line.startswith("data: {"):
                        for choice in json.loads(line.removeprefix("data: "))["choices"]:
                            if text := choice["delta"].get("content"):
                                yield paragone.Token(text=text, time=time.monotonic())
                            if choice["finish_reason"] == "length":
                                reason = "length"
        yield paragone.Finish(reason=reason, time=time.monotonic())

    async def close(self):
        await super().close()
        await self.http.aclose()


class ChatBackend(paragone.Backend):
    """The adapter: its name, its options, and how an engine is opened."""

    name = "chat"
    title = "Chat"
    api_version = 2
    load_options = ChatLoad
    sampling = ChatSampling

    async def probe(self, python=None):
        return paragone.Probe(usable=True, facts={"httpx": httpx.__version__})

    async def models(self, folders):
        with suppress(paragone.EngineError):  # no server runs at the default address
            return [paragone.ModelInfo(model=name, name=name) for name in await model_names(ChatLoad().url)]
        return []

    async def open(self, request, on_progress):
        options = build(ChatLoad, request.options, owner=self.title)
        names = await model_names(options.url)
        if request.model not in names:
            raise paragone.InputError(
                f"The server has no model {request.model!r}.", hint=f"It has: {', '.join(names)}."
            )
        return ChatEngine(options.url, request.model)


@hookimpl
def paragone_backends():
    return [ChatBackend()]
