"""Identify an OpenAI-compatible server by the paths that only this kind of server has, and read its reports."""

import asyncio
import dataclasses
import hashlib
import json
import re
import shlex
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import quote

from paragone import Event, Json, ModelInfo, Queued
from paragone import json_values as values
from paragone.json_values import JsonObject
from paragone.options import describe
from paragone_remote import faults, options, transport

_NUMBERS = tuple(info.name for info in describe(options.OpenAISampling) if info.kind == "number")

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


def sampling_defaults(samplers: JsonObject) -> dict[str, Json]:
    # llama.cpp uses single precision, and reports 0.8 as 0.800000011920929
    found: dict[str, Json] = {
        name: float(f"{value:.7g}")
        for name in _NUMBERS
        if (value := values.number_at(samplers, name)) is not None
    }
    if (top_k := values.number_at(samplers, "top_k")) is not None:
        found["top_k"] = max(int(top_k), 0)
    if samplers:
        found["stop"] = []  # these servers add no stop sequences of their own
    return found


def sampling_facts(samplers: JsonObject) -> dict[str, str]:
    known = {name: value for name in _OTHERS if (value := values.number_at(samplers, name)) is not None}
    active = [f"{name} {value:g}" for name, value in known.items() if value != _OTHERS[name]]
    facts = {"other samplers": ", ".join(active) or "none"} if known else {}
    if isinstance(lora := samplers.get("lora"), list):
        facts["LoRA adapter"] = f"{len(lora)} of the server's" if lora else "none"
    return facts


Schema: TypeAlias = dict[str, Json]
SchemaFields: TypeAlias = Callable[[Schema], Schema]
"""Returns the fields of a request for a JSON schema."""


def _strict_format(schema: Schema) -> Schema:
    named: Schema = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _plain_field(schema: Schema) -> Schema:
    return {"json_schema": schema}


Ability: TypeAlias = Literal["continues", "thinking", "ids", "seeds", "embeds", "chat tokens", "echoes"]
"""A feature of a server: it continues the last message if that is the assistant's, accepts the thinking of earlier
answers, accepts token ids as a prompt, respects seeds, computes usable embeddings, reports the tokens of a chat, or
repeats a prompt with log-probabilities."""


@dataclass(frozen=True, slots=True)
class ServerKind:
    """The known features of one kind of server beyond OpenAI's protocol, and its names of fields."""

    name: str
    """The server's name; empty if unknown."""
    can: Set[Ability] = frozenset({"embeds"})
    budget: str = ""
    """The field for the largest number of tokens of the thinking, if any."""
    penalty: str = "repeat_penalty"
    schema_in_chat: SchemaFields = _strict_format
    schema_in_completion: SchemaFields | None = None
    tokenize: tuple[str, str, JsonObject] | None = None
    """The path that tokenizes a plain text, the field for the text, and other fields."""

    @property
    def is_llama_server(self) -> bool:
        return self.name == "llama-server"

    @property
    def subject(self) -> str:
        return self.name or "This server"


_KINDS = (
    ServerKind(""),
    ServerKind(
        "llama-server",
        {"continues", "thinking", "ids", "seeds", "embeds", "chat tokens"},
        budget="thinking_budget_tokens",
        schema_in_completion=_plain_field,
        # it tokenizes a completion's prompt in the same way: tokenize_input_prompts in server-common.cpp
        tokenize=("/tokenize", "content", {"add_special": True, "parse_special": True}),
    ),
    ServerKind(
        "llama-cpp-python",  # of a text longer than a batch, or with most models, its embeddings are wrong
        {"seeds"},
        schema_in_chat=lambda schema: {"response_format": {"type": "json_object", "schema": schema}},
        tokenize=("/extras/tokenize", "input", {}),
    ),
    ServerKind("llama-swap"),
    ServerKind(
        "vLLM",
        {"continues", "thinking", "ids", "seeds", "embeds", "chat tokens", "echoes"},
        budget="thinking_token_budget",
        penalty="repetition_penalty",
        schema_in_completion=_strict_format,
        tokenize=("/tokenize", "prompt", {"add_special_tokens": True}),
    ),
    ServerKind(
        "SGLang",
        {"continues", "thinking", "ids", "embeds"},
        penalty="repetition_penalty",
        schema_in_completion=lambda schema: {"json_schema": json.dumps(schema)},
    ),
    ServerKind(
        "TabbyAPI",  # embeddings come from another model than answers
        {"continues"},
        penalty="repetition_penalty",
        schema_in_chat=_plain_field,
        schema_in_completion=_plain_field,
    ),
    ServerKind("LM Studio"),
    ServerKind("paragone", {"embeds", "echoes"}),
)
KINDS = {kind.name: kind for kind in _KINDS}

_ALONE_S = 1.0
"""Seconds for a server to show that it is a llama-server, before it gets the requests for other kinds of servers."""

CHATML = (
    "{%-formessageinmessages-%}{{-'<|im_start|>'+message.role+''+message.content+'<|im_end|>'-}}{%-endfor-%}"
    "{%-ifadd_generation_prompt-%}{{-'<|im_start|>assistant'-}}{%-endif-%}"
)
"""llama-server's default template, without spaces (CHATML_TEMPLATE_SRC in its common/chat.cpp)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProperties:
    kind: ServerKind = KINDS[""]
    version: str = ""
    context: int | None = None
    """Size of the context window in tokens, if the server reports it without naming a model."""
    routes: bool = False
    """Whether the server has several models and describes each only on request (llama-server's router)."""
    vision: bool | None = None
    template: str | None = None
    model_file: str = ""
    has_slots: bool = False
    seed: int | None = None
    """The server's own seed for requests without a seed; None if the server reports none."""
    defaults: JsonObject = field(default_factory=dict)
    """The server's default sampling options, as far as known, by paragone's option names."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Standard facts (`paragone.facts`) that the server reports about itself."""

    @property
    def title(self) -> str:
        return f"{self.kind.name or 'OpenAI-compatible server'} {self.version}".rstrip()

    def tokenizes(self, *, raw: bool) -> bool:
        """Whether the server reports the tokens of prompts. `raw`: whether the prompts are plain text."""
        return self.kind.tokenize is not None and (raw or "chat tokens" in self.kind.can)


async def identify_server(http: transport.EndpointClient) -> ServerProperties:
    """Identify a server. Never raises: a server that does not respond is unknown."""
    async with asyncio.TaskGroup() as group:
        first = group.create_task(faults.optional_data(http, "/props"))  # llama-server
        # A llama-server would log the other requests as errors. A silent server gets them anyway.
        await asyncio.wait([first], timeout=_ALONE_S)
        if first.done() and _is_llama_server(first.result()):
            return _llama_server(first.result())
        version, info, tabby, studio, swap, described = await asyncio.gather(
            faults.optional_data(http, "/version"),  # vLLM
            faults.optional_data(http, "/get_server_info"),  # SGLang
            faults.optional_data(http, "/v1/model"),  # TabbyAPI
            faults.optional_data(http, "/api/v0/models"),  # LM Studio
            faults.optional_data(http, "/running"),  # llama-swap
            faults.optional_data(http, "/openapi.json"),
        )
    if _is_llama_server(props := first.result()):
        return _llama_server(props)
    if "tokenizer_path" in info or "model_path" in info:
        context = values.count_at(info, "context_length") or None
        return _program("SGLang", options.plain(values.text_at(info, "version")), context)
    about = values.object_at(described, "info")
    if "llama.cpp Python API" in values.text_at(about, "title"):
        # Chats and completions have the same fields for sampling (llama_cpp/server/types.py).
        fields = values.object_at(
            described, "components", "schemas", "CreateChatCompletionRequest", "properties"
        )
        samplers = {name: values.object_at(fields, name).get("default") for name in fields}
        return ServerProperties(
            kind=KINDS["llama-cpp-python"],
            version=options.plain(values.text_at(about, "version")),
            defaults=sampling_defaults(samplers),
            facts={"program": "llama.cpp", **sampling_facts(samplers)},
        )
    if "TabbyAPI" in values.text_at(about, "title") or "parameters" in tabby:
        parameters = values.object_at(tabby, "parameters")
        return ServerProperties(
            kind=KINDS["TabbyAPI"],
            context=values.count_at(parameters, "max_seq_len") or None,
            vision=values.flag_at(parameters, "use_vision"),
        )
    if isinstance(studio.get("data"), list):
        return _program("LM Studio")
    if isinstance(swap.get("running"), list):
        return ServerProperties(kind=KINDS["llama-swap"])
    if number := options.plain(values.text_at(version, "version")):
        return _program("vLLM", number)
    listed = await faults.optional_data(http, f"{http.endpoint.base}/models")
    if any(values.text_at(entry, "owned_by") == "paragone" for entry in values.objects_at(listed, "data")):
        return ServerProperties(kind=KINDS["paragone"])
    return ServerProperties()


async def identify_server_again(http: transport.EndpointClient, server: ServerProperties) -> ServerProperties:
    """Return the server's current properties. Servers other than llama-server are assumed unchanged."""
    if not server.kind.is_llama_server or server.routes:
        return server
    props = await faults.optional_data(http, "/props")
    return _llama_server(props) if _is_llama_server(props) else ServerProperties()


def upstream_path(model: str) -> str:
    """Return llama-swap's path of the server of a model."""
    return f"/upstream/{quote(model)}"


def _loaded_context(described: JsonObject, model: str) -> int | None:
    """Return the context in tokens with which a model is loaded, from the list of all models; None if unknown."""
    for entry in values.objects_at(described, "models"):
        for instance in values.objects_at(entry, "loaded_instances"):
            if model in (values.text_at(entry, "key"), values.text_at(instance, "id")):
                return values.count_at(instance, "config", "context_length") or None
    return None


async def properties_of_model(
    http: transport.EndpointClient, server: ServerProperties, model: str
) -> ServerProperties:
    """Return the server's properties, with the properties of the loaded model `model`. Raises ParagoneError."""
    if server.routes:
        seconds = http.endpoint.options.load_timeout
        path = f"/props?model={quote(model, safe='')}"
        props = await faults.ask(http, path, model=model, seconds=seconds)
        return dataclasses.replace(_llama_server(props), routes=True)
    if server.kind.name == "llama-swap":
        props = await faults.optional_data(http, f"{upstream_path(model)}/props")
        if _is_llama_server(props):
            behind = _llama_server(props)
            # Requests pass through llama-swap, which can change the settings: only the model's properties are certain.
            return dataclasses.replace(
                server,
                context=behind.context,
                vision=behind.vision,
                template=behind.template,
                model_file=behind.model_file,
            )
    if server.kind.name == "LM Studio":
        described = await faults.optional_data(http, "/api/v1/models")
        return dataclasses.replace(server, context=_loaded_context(described, model))
    return server


async def find_models(http: transport.EndpointClient) -> tuple[ModelInfo, ...]:
    """List the server's models. Raises ParagoneError."""
    invalid = "a reply that is not a list of models"
    found = await faults.ask(http, f"{http.endpoint.base}/models", invalid=invalid)
    if not isinstance(found.get("data"), list):
        raise faults.explain(transport.InvalidReply(invalid), http.endpoint)
    listed = values.objects_at(found, "data")[: options.MOST_MODELS]
    return tuple(_info(entry) for entry in listed if values.text_at(entry, "id").strip())


def _info(entry: JsonObject) -> ModelInfo:
    model = entry["id"]
    name = options.plain(values.text_at(entry, "id"))
    meta = values.object_at(entry, "meta")  # llama-server's
    context = (
        values.count_at(entry, "max_model_len")  # vLLM, SGLang
        or values.count_at(entry, "loaded_context_length")  # LM Studio
        or values.count_at(entry, "max_context_length")
        or values.count_at(meta, "n_ctx_train")
        or None
    )
    return ModelInfo(
        model=name,
        name=name,
        size=values.count_at(meta, "size"),
        quantization=options.plain(values.text_at(entry, "quantization"))
        or _file_type(options.plain(values.text_at(meta, "ftype")))
        or None,
        architecture=options.plain(values.text_at(entry, "arch")) or None,
        parameters=values.count_at(meta, "n_params") or None,
        context=context,
        problem="" if name == model else "Its name has unprintable characters.",
    )


_FILE_TYPES = {"Q2_K - Medium": "Q2_K", "MXFP4 MoE": "MXFP4", "IQ3_S mix - 3.66 bpw": "IQ3_M"}


def _file_type(named: str) -> str:
    """Return the standard name for one of llama_ftype_name in llama.cpp's llama-model-loader.cpp; empty if unknown."""
    named = named.removeprefix("(guessed) ").removeprefix("all ")
    name, _, size = named.partition(" - ")
    if named in _FILE_TYPES:
        return _FILE_TYPES[named]
    if size in ("Small", "Medium", "Large"):
        return f"{name}_{size[0]}"
    return "" if name.startswith("unknown") else name


def _program(name: str, version: str = "", context: int | None = None) -> ServerProperties:
    facts = {"program": name} | ({"version": version} if version else {})
    return ServerProperties(kind=KINDS[name], version=version, context=context, facts=facts)


def _is_llama_server(props: JsonObject) -> bool:
    return "default_generation_settings" in props or "total_slots" in props


def _llama_server(props: JsonObject) -> ServerProperties:
    settings = values.object_at(props, "default_generation_settings")
    samplers = values.object_at(
        settings, "params"
    )  # the token limit there is not the one that the server's argument -n sets
    version = options.plain(values.text_at(props, "build_info"))
    build = _BUILD.fullmatch(version)
    facts = {"program": "llama.cpp"} | ({"commit": build[1]} if build else {})
    seed = values.count_at(samplers, "seed")
    return ServerProperties(
        kind=KINDS["llama-server"],
        version=version,
        context=values.count_at(settings, "n_ctx") or values.count_at(props, "n_ctx") or None,
        routes=values.text_at(props, "role") == "router",
        vision=values.flag_at(props, "modalities", "vision"),
        template=values.text_at(props, "chat_template") if "chat_template" in props else None,
        model_file=options.plain(values.text_at(props, "model_path")),
        has_slots=values.flag_at(props, "endpoint_slots") is not False,
        seed=None if seed is None or seed >= _RANDOM else seed,
        defaults=sampling_defaults(samplers),
        facts={**facts, **sampling_facts(samplers)},
    )


def identity_of(
    model: str, listed: Sequence[ModelInfo], server: ServerProperties, *, answered_as: str = ""
) -> dict[str, str]:
    """Return the known properties of the server and of the model. `listed` are the server's models. `answered_as` is
    the model name in the server's answers. Many servers answer with a longer name or an alias, so another name is
    reported only if the server lists a model with that name."""
    names = [info.model for info in listed]
    entry = next((info for info in listed if info.model == model), None)
    known: dict[str, object] = {"server": server.title}
    if entry is None:
        known["model"] = f"missing now (the server has: {', '.join(names[:5]) or 'none'})"
    else:
        known["model"] = answered_as if answered_as in names else model
        size = f"{entry.size:,} bytes" if entry.size else None
        known |= {"model size": size, "quantization": entry.quantization}
    known |= {"model file": server.model_file, "context": server.context}
    if server.template:
        digest = hashlib.sha256(server.template.encode("utf-8", "surrogatepass")).hexdigest()
        known["chat template"] = f"one with the digest {digest[:8]}"
    return {name: str(value) for name, value in known.items() if value}


_FLAG = re.compile(r"--?[a-zA-Z]")
_OWN = re.compile(r"-m|-a|-mm|--(model|host|port|alias|mmproj|ssl-\S+|\S*(key|token|password)\S*)")
"""Arguments that name the model or the address, or are secret."""


async def find_launch(http: transport.EndpointClient, model: str) -> tuple[tuple[str, ...], bool]:
    """Return the arguments of the server of a loaded model, without secrets, and whether it is behind llama-swap."""
    listed = await faults.optional_data(http, f"{http.endpoint.base}/models")
    entry = next((item for item in values.objects_at(listed, "data") if item.get("id") == model), {})
    if options.plain(values.text_at(entry, "owned_by")) == "llama-swap":
        running = await faults.optional_data(http, "/running")
        entry = next(
            (item for item in values.objects_at(running, "running") if item.get("model") == model), {}
        )
        command = values.text_at(entry, "cmd")
        try:
            words = shlex.split(command, comments=True)
        except ValueError:
            words = command.split()
        return _shown(words), True
    return _shown(values.texts_at(entry, "status", "args")), False


def _shown(command: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments after the program, without arguments that name the model or an address, or are secret."""
    groups: list[list[str]] = []
    for argument in command[1:]:
        is_name = _FLAG.match(argument)
        if is_name or not groups:
            groups.append([])
        name, equals, value = argument.partition("=")
        groups[-1] += [name, value] if equals and is_name else [argument]
    return tuple(shlex.join(group) for group in groups if not _OWN.fullmatch(group[0]))


FINGERPRINT = "fp_ollama"
"""The `system_fingerprint` of Ollama's answers (openai/openai.go in its source)."""


_SLOTS_S = 10.0
"""Seconds to wait for the state of the slots, which a server reports between two batches of tokens."""


async def read_slots(http: transport.EndpointClient) -> list[JsonObject]:
    """Return a llama-server's report on its slots. Raises `FAULTS`, and ValueError or RecursionError for other replies."""
    reply = await transport.Wait().within(_SLOTS_S, http.get(f"{http.endpoint.root}/slots"))
    return values.objects_at(json.loads(reply.text))


async def context_in_use(http: transport.EndpointClient, model: str) -> int | None:
    """Return the size of a loaded model's context in tokens; None if unknown. Raises ParagoneError."""
    found = await faults.ask(http, "/api/ps")
    for entry in values.objects_at(found, "models"):
        if values.text_at(entry, "name") in (model, f"{model}:latest"):
            return values.count_at(entry, "context_length")
    return None


_POLL_S = 1.0
"""Seconds to wait for an event before the slots are requested, and between two requests for the slots."""


async def with_queue(
    events: AsyncGenerator[Event, None], all_busy: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Event, None]:
    """Yield the events. Before the first event, yield Queued about once a second while the server is `all_busy`."""
    first = asyncio.ensure_future(anext(events, None))
    asked: asyncio.Future[bool] | None = None

    def end_question(_: object) -> None:
        if asked is not None:
            asked.cancel()

    first.add_done_callback(end_question)  # a server may report its slots later than it answers
    try:
        while not (await asyncio.wait({first}, timeout=_POLL_S))[0]:
            asked = asyncio.ensure_future(all_busy())
            await asyncio.wait({asked})
            if not first.done() and asked.result():
                yield Queued(time=time.monotonic())
        event = first.result()
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    while event is not None:
        yield event
        event = await anext(events, None)
