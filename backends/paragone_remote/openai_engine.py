"""An open model at an OpenAI-compatible server: answers, prompts, tokens, and embeddings
(https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Iterator, Sequence

import httpx

import paragone
from paragone.json_values import JsonObject, count_at, flag_at, list_at, object_at, objects_at, text_at
from paragone.options import build
from paragone.shared_options import draw_seed
from paragone_remote import answers, faults
from paragone_remote import openai_requests as requests
from paragone_remote import openai_servers as servers
from paragone_remote.engine import Identity, RemoteEngine
from paragone_remote.options import OpenAISampling, plain, without_surrogates
from paragone_remote.transport import InvalidReply, Refusal, Stopped, Wait

_PATH = "/embeddings"
_PATIENCE = 10.0
"""Seconds to wait for the reply to a request without computation."""


async def computes_embeddings(http: httpx.AsyncClient, server: servers.ServerProperties, model: str) -> bool:
    """Whether a server computes embeddings, or may compute them. Never raises. The request to a llama-server has no input, so
    it does not compute. A llama-server with `--embeddings` and a pooling replies that the input is missing; other llama-servers
    reply with a different reason. Other kinds of servers may compute embeddings."""
    if not server.kind.is_llama_server:
        return "embeds" in server.kind.can
    try:
        await Wait().within(_PATIENCE, http.post(_PATH, json={"model": model}))
    except Refusal as refusal:
        return refusal.status == httpx.codes.BAD_REQUEST and "must be provided" in refusal.body
    except faults.FAULTS:
        pass
    return False


_INTERRUPTS = (
    "The server cancels an answer when the next request arrives, unless it was started with "
    "--interrupt_requests false; then lanes at this server answer one after the other."
)


_RENDERED = {"model", "messages", *requests.OF_TEMPLATE}


def _ids(reply: JsonObject) -> tuple[int, ...]:
    ids = tuple(count for item in list_at(reply, "tokens") if (count := count_at(item)) is not None)
    if reply.get("tokens") != list(ids):
        raise InvalidReply("a reply that is not a list of tokens")
    return ids


def _vocabulary_of(reply: JsonObject, size: int) -> paragone.Vocabulary:
    found = list_at(reply, "tokens")
    if [count_at(entry, "id") for entry in found] != list(range(size)):
        raise InvalidReply("a reply that is not its whole vocabulary")
    return paragone.Vocabulary(size=size, fingerprint=paragone.fingerprint(map(_piece, found)))


def _piece(entry: paragone.Json) -> bytes:
    """Return the bytes of a token, which are a list of numbers if they are not valid UTF-8."""
    piece = object_at(entry).get("piece")
    if isinstance(piece, str):
        return piece.encode("utf-8", "surrogatepass")
    numbers = [count_at(number) for number in list_at(piece)] or [None]
    try:
        return bytes(256 if number is None else number for number in numbers)
    except ValueError as error:
        raise InvalidReply("a token with invalid bytes") from error


@dataclasses.dataclass(eq=False, kw_only=True)
class OpenAIEngine(RemoteEngine[OpenAISampling]):
    server: servers.ServerProperties
    raw: bool
    """Whether chats use the completions endpoint too."""
    refused: set[str] = dataclasses.field(default_factory=set)
    """The fields that the server has refused before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tokenizes = self.server.tokenizes(raw=self.raw)
        self._renders = not self.raw and self.server.kind.is_llama_server
        self._has_slots = self.server.has_slots
        """Whether the server reports the state of its slots, and has not refused to report it."""

    def _options(self, given: JsonObject) -> OpenAISampling:
        return build(OpenAISampling, given, owner=self.model)

    async def _answer(
        self, request: paragone.RunRequest, sampling: OpenAISampling
    ) -> AsyncGenerator[paragone.Event, None]:
        if not self.server.kind.is_llama_server:
            answers.refuse_unfinished_thinking(request, self._endpoint.where)
            if request.cold:
                yield answers.not_cold_caution("This server")
        if answers.continues_answer(request) and not (self.raw or "continues" in self.server.kind.can):
            yield answers.MAY_NOT_CONTINUE
        wanted = self._body(request, sampling)
        while True:
            body = self._without_refused(wanted)
            answer = self._events(body, request)
            watched = answer if request.bare else servers.with_queue(answer, self._all_busy)
            try:
                async with contextlib.aclosing(answer), contextlib.aclosing(watched) as events:
                    async for event in events:
                        if isinstance(event, paragone.Finish):
                            for caution in self._cautions_of_refused(wanted, request):
                                yield caution
                        yield event
            except Refusal as refusal:
                # A refusal comes before any token, so the request can be repeated without the refused fields.
                if not (named := requests.refused_in(refusal, body)):
                    raise
                self.refused |= named
            else:
                return

    async def _all_busy(self) -> bool:
        """Whether all slots process requests. False if unknown. Never raises, except for cancellation."""
        if not self._has_slots:
            return False
        try:
            slots = await servers.read_slots(self.http)
        except faults.FAULTS as error:
            self._has_slots = not isinstance(error, Refusal)
            return False
        except (ValueError, RecursionError):
            return False
        return bool(slots) and all(flag_at(slot, "is_processing") for slot in slots)

    def _is_raw(self, request: paragone.RunRequest) -> bool:
        return self.raw or not request.messages

    def _body(self, request: paragone.RunRequest, sampling: OpenAISampling) -> dict[str, paragone.Json]:
        raw = self._is_raw(request)
        return requests.make_body(self.model, request, sampling, self.server.kind, raw=raw)

    def _without_refused(self, body: JsonObject) -> dict[str, paragone.Json]:
        return {name: value for name, value in body.items() if name not in self.refused}

    def _accepted_body(self, request: paragone.RunRequest, sampling: OpenAISampling) -> JsonObject:
        return self._without_refused(self._body(request, sampling))

    def _with_seed(self, sampling: OpenAISampling, drawn_seed: int | None) -> OpenAISampling:
        honours = "seeds" in self.server.kind.can and "seed" not in self.refused
        if sampling.seed is not None or not honours:
            return sampling
        drawn = draw_seed() if drawn_seed is None else drawn_seed
        return dataclasses.replace(sampling, seed=drawn if self.server.seed is None else self.server.seed)

    def _settings(self, request: paragone.RunRequest, sampling: OpenAISampling) -> paragone.RunSettings:
        raw = self._is_raw(request)
        settings = requests.settings_of(sampling, self.server, self.refused, raw=raw)
        return dataclasses.replace(settings, prompt=requests.raw_prompt(request) or None) if raw else settings

    def _ask_prompt(self, request: paragone.RunRequest, sampling: OpenAISampling) -> answers.AskPrompt | None:
        ids = request.prompt_ids and self._tokenizes
        if request.ids or not (self._renders or ids) or answers.has_images(request.messages):
            return None
        return lambda: self._rendered(self._accepted_body(request, sampling), ids=ids)

    async def _count(self, request: paragone.RunRequest, sampling: OpenAISampling) -> int | None:
        if not self._tokenizes or answers.has_images(request.messages):
            return None
        prompt = await self._rendered(self._accepted_body(request, sampling), ids=True)
        return len(prompt.ids) or None

    async def _context(self) -> int | None:
        if self._fingerprint != servers.FINGERPRINT:
            return self.loaded.context
        return await servers.context_in_use(self.http, self.model)

    async def _embeddings(self, request: paragone.EmbedRequest) -> paragone.Embeddings:
        count = len(request.inputs)
        body = {"model": self.model, "input": [*request.inputs], "encoding_format": "float"}
        reply = await self.http.post(_PATH, json=body)

        def read() -> paragone.Embeddings:
            data = faults.read_object(reply.text)
            by_index = {
                count_at(entry, "index"): entry.get("embedding") for entry in objects_at(data, "data")
            }
            if set(by_index) != set(range(count)):
                raise InvalidReply("embeddings of other texts than requested")
            tokens = count_at(data, "usage", "prompt_tokens")
            return answers.embeddings_of((by_index[index] for index in range(count)), tokens, texts=count)

        return await asyncio.to_thread(read)

    async def _identify(self) -> Identity:
        listed = await servers.find_models(self.http)
        server = await servers.identify_server_again(self.http, self.server)
        if server.kind.is_llama_server and self._fingerprint:
            server = dataclasses.replace(server, version=plain(self._fingerprint))
        return servers.identity_of(self.model, listed, server, answered_as=self._named)

    async def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        sampling = self._options(request.sampling)
        self._require_open()
        if not self._tokenizes and self.server.kind.tokenize is None:
            raise self._unable("does not report the tokens of a prompt.")
        if not self._tokenizes:
            raise self._unable(
                "reports the tokens of a text, but not the text that its chat template renders."
            )
        if answers.has_images(request.messages):
            raise self._unable("does not report the tokens of images.")
        body: JsonObject = {"prompt": request.text}
        if request.ids:
            asked = self._post("/detokenize", {"model": self.model, "tokens": list(request.ids)})
            text = text_at(await faults.await_reply(self._endpoint, asked, model=self.model), "prompt")
            return paragone.TokenizedText(text=text, ids=request.ids)
        if not (request.messages or request.bos):
            bare = self._ids_of_text(request.text, add_special_tokens=False)
            ids = await faults.await_reply(self._endpoint, bare, model=self.model)
            return paragone.TokenizedText(text=request.text, ids=ids)
        if request.messages:
            body = self._accepted_body(paragone.RunRequest(messages=request.messages), sampling)
        rendered = self._rendered(body, ids=True)
        prompt = await faults.await_reply(self._endpoint, rendered, model=self.model)
        if request.count_only:
            return paragone.TokenizedText(text=None, ids=(), count=len(prompt.ids))
        return prompt

    async def score(self, request: paragone.ScoreRequest) -> AsyncGenerator[paragone.Event, None]:
        """Let the server repeat the text with log-probabilities, and drop the token that it adds."""
        self._require_open()
        if "echoes" not in self.server.kind.can or request.messages:
            raise self._unable("does not report the log-probabilities of a given answer to messages.")
        prompt: paragone.Json = list(request.ids) or request.text
        body = {"model": self.model, "prompt": prompt, "echo": True, "max_tokens": 1, "temperature": 0}
        asked = self.http.post("/completions", json={**body, "logprobs": max(request.top, 1)})
        async with self._waiting() as wait:
            with contextlib.suppress(Stopped):
                reply = await wait.within(self._endpoint.options.idle_timeout, asked)
                data = await asyncio.to_thread(faults.read_object, reply.text)
                logprobs = next((object_at(it, "logprobs") for it in objects_at(data, "choices")), {})
                added = count_at(data, "usage", "completion_tokens") or 0
                if request.ids:
                    yield paragone.Token(text="", id=request.ids[0], time=time.monotonic())
                found = [*requests.scored_in(logprobs)]
                total = len(found) + 1 - added  # the first token has no log-probability
                yield paragone.PromptProgress(done=total, total=total, time=time.monotonic())
                for token in found[: len(found) - added]:
                    now, size = time.monotonic(), len(token.text.encode())
                    yield dataclasses.replace(token, top=token.top[: request.top], n_bytes=size, time=now)
                yield paragone.Finish(reason="stop", time=time.monotonic())
                return
        yield paragone.Finish(reason="cancelled", time=time.monotonic())

    async def top_tokens(
        self, request: paragone.TopTokensRequest
    ) -> AsyncGenerator[tuple[paragone.Alternative, ...], None]:
        """Yield the most likely next tokens after each token from `request.start` on, with one request for each position."""
        self._require_open()
        if not self.server.kind.is_llama_server:
            raise self._unable("does not report the most likely tokens after given tokens.")
        async with self._waiting() as wait:
            with contextlib.suppress(Stopped):
                for end in range(request.start + 1, len(request.ids) + 1):
                    asked = self._top_tokens_after(request.ids[:end], request.top)
                    yield await wait.within(self._endpoint.options.idle_timeout, asked)

    async def _top_tokens_after(self, ids: Sequence[int], top: int) -> tuple[paragone.Alternative, ...]:
        body: dict[str, paragone.Json] = {"prompt": list(ids), "n_predict": 1, "n_probs": top}
        body |= {"model": self.model, "temperature": 0, "cache_prompt": True}
        scored = objects_at(await self._post("/completion", body), "completion_probabilities")
        generated = next(answers.scored_tokens(scored), None)
        if generated is None or not generated.top:
            raise self._unable("returned no log-probabilities.")
        return generated.top[:top]

    async def vocabulary(self) -> paragone.Vocabulary:
        self._require_open()
        return await faults.await_reply(self._endpoint, self._vocabulary(), model=self.model)

    async def _vocabulary(self) -> paragone.Vocabulary:
        if not self.server.kind.is_llama_server:
            raise self._unable("does not report its vocabulary.")
        listed = objects_at(await faults.ask(self.http, f"{self._endpoint.base}/models"), "data")
        sizes = (count_at(entry, "meta", "n_vocab") for entry in listed if text_at(entry, "id") == self.model)
        if not (size := next(filter(None, sizes), None)):
            raise self._unable("does not report the size of its vocabulary.")
        # The path also takes token ids.
        every: dict[str, paragone.Json] = {"content": list(range(size)), "with_pieces": True}
        reply = await self._post("/tokenize", {"model": self.model, **every})
        return await asyncio.to_thread(_vocabulary_of, reply, size)

    async def _rendered(self, body: JsonObject, *, ids: bool) -> paragone.TokenizedText:
        if isinstance(text := body.get("prompt"), str):
            return paragone.TokenizedText(text=text, ids=await self._ids_of_text(text) if ids else ())
        wanted: dict[str, paragone.Json] = {name: value for name, value in body.items() if name in _RENDERED}
        if self.server.kind.is_llama_server:
            rendered = (await self._post("/apply-template", wanted)).get("prompt")
            if not isinstance(rendered, str):
                raise InvalidReply("no prompt in the reply to a request for a prompt")
            tokens = await self._ids_of_text(rendered) if ids else ()
            return paragone.TokenizedText(text=without_surrogates(rendered), ids=tokens)
        if self.server.kind.name == "vLLM" and ids:
            if wanted.pop("reasoning_effort", None) is not None:
                raise paragone.EngineError(
                    f"vLLM's /tokenize at {self._endpoint.origin} does not take the effort of thinking, which affects the prompt."
                )
            return paragone.TokenizedText(text=None, ids=_ids(await self._post("/tokenize", wanted)))
        return paragone.TokenizedText(text=None, ids=())

    async def _ids_of_text(self, text: str, **more: bool) -> tuple[int, ...]:
        assert self.server.kind.tokenize is not None
        path, field, others = self.server.kind.tokenize
        return _ids(await self._post(path, {"model": self.model, field: text, **others, **more}))

    async def _post(self, path: str, body: JsonObject) -> JsonObject:
        reply = await self.http.post(self._endpoint.root + path, json=body)
        # parse in a thread: the tokens of a long prompt or of a vocabulary take a while
        return await asyncio.to_thread(faults.read_object, reply.text)

    async def _events(
        self, body: JsonObject, request: paragone.RunRequest
    ) -> AsyncGenerator[paragone.Event, None]:
        state = requests.StreamedAnswer(raw=self._is_raw(request), logprobs=request.logprobs)
        path = "/completions" if state.raw else "/chat/completions"
        stream = requests.streamed(self.http, path, body, hangs_up=self.server.kind.is_llama_server)
        async with contextlib.aclosing(stream) as chunks:
            try:
                async for chunk in chunks:
                    now = time.monotonic()
                    self._named = text_at(chunk, "model") or self._named
                    self._fingerprint = text_at(chunk, "system_fingerprint") or self._fingerprint
                    if (progress := requests.progress_in(chunk, now)) is not None:
                        yield progress
                    for token in state.take(chunk, now):
                        yield token
            except httpx.TransportError:
                if not state.reason:  # with a reason, the answer is complete
                    raise
        for token in state.rest(time.monotonic()):
            yield token
        if not state.reason and not state.began:
            # A server may have started the stream before it fails at the first token.
            await requests.repeat_for_error(self.http, path, body)
        if not state.reason:
            raise faults.IncompleteAnswer(_INTERRUPTS if self.server.kind.name == "llama-cpp-python" else "")
        scores_missing = request.logprobs is not None and state.began and not state.scored
        if scores_missing and "logprobs" not in self.refused:
            message = f"{self._endpoint.where} returned no log-probabilities."
            yield paragone.Caution(code="no-logprobs", sentence=message)
        if state.reason == "content_filter":
            yield paragone.Caution(code="filtered", sentence="The server's filter ended the answer.")
        reason: paragone.FinishReason = "length" if state.reason == "length" else "stop"
        yield paragone.Finish(reason=reason, usage=state.usage, timings=state.timings, time=time.monotonic())

    def _cautions_of_refused(
        self, wanted: JsonObject, request: paragone.RunRequest
    ) -> Iterator[paragone.Caution]:
        for name in requests.omitted_options(wanted, self.refused):
            if name == "seed" and request.sampling.get("seed") is None:
                continue  # this program added the seed, not the user
            if name == "log-probabilities":
                message = f"{self._endpoint.where} returns no log-probabilities."
                yield paragone.Caution(code="no-logprobs", sentence=message)
            else:
                message = f"{self._endpoint.where} does not support {name}, so it was omitted."
                yield paragone.Caution(code="option-refused", sentence=message)
