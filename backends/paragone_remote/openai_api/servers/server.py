"""Identify an OpenAI-compatible server by the paths that only this kind of server has."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from paragone import Json, ModelInfo
from paragone.json_fields import JsonObject, count_at, flag_at, object_at, text_at
from paragone_remote.http.replies import await_reply, data_or_nothing, optional_data
from paragone_remote.http.transport import EndpointClient, InvalidReply
from paragone_remote.openai_api.loaders.llama_swap import upstream
from paragone_remote.openai_api.loaders.lm_studio import context_of
from paragone_remote.openai_api.servers.server_defaults import (
    build_in_props,
    sampling_defaults,
    sampling_facts,
    seed_in,
    values_in_props,
    values_in_schema,
)
from paragone_remote.server_text import plain

ServerKind: TypeAlias = Literal[
    "llama-server", "llama-cpp-python", "llama-swap", "vLLM", "SGLang", "TabbyAPI", "LM Studio", "unknown"
]

_ALONE_S = 1.0
"""Seconds in which a server can tell that it is a llama-server, before it is asked what only other servers tell."""

_CHATML = (
    "{%-formessageinmessages-%}{{-'<|im_start|>'+message.role+''+message.content+'<|im_end|>'-}}{%-endfor-%}"
    "{%-ifadd_generation_prompt-%}{{-'<|im_start|>assistant'-}}{%-endif-%}"
)
"""llama-server's default template, without spaces (CHATML_TEMPLATE_SRC in its common/chat.cpp)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProperties:
    """A server's properties, as far as it reports them."""

    kind: ServerKind = "unknown"
    version: str = ""
    context: int | None = None
    """Size of the context window in tokens, if the server reports it without naming a model."""
    routes: bool = False
    """Whether the server has several models and describes each only on request (llama-server's router)."""
    vision: bool | None = None
    """Whether the model accepts images; None if unknown."""
    template: str | None = None
    """The chat template; empty if the model has none, None if unknown."""
    model_file: str = ""
    """Path of the model's file; empty if unknown."""
    has_slots: bool = False
    """Whether the server reports the state of its slots."""
    seed: int | None = None
    """The server's own seed for requests without a seed; None if the server reports none."""
    defaults: Mapping[str, Json] = field(default_factory=dict)
    """The server's default sampling options, as far as known, by paragone's option names."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Standard facts (`paragone.facts`) that the server reports about itself."""

    @property
    def title(self) -> str:
        """The server's display name."""
        name = "OpenAI-compatible server" if self.kind == "unknown" else self.kind
        return f"{name} {self.version}".rstrip()

    @property
    def assumes_template(self) -> bool:
        """Whether the chat template is the server's default for models without a chat template."""
        return "".join((self.template or "").split()) == _CHATML


async def identify(http: EndpointClient) -> ServerProperties:
    """Identify a server. Never raises: a server that does not respond is unknown."""
    root = http.endpoint.root
    async with asyncio.TaskGroup() as group:
        first = group.create_task(optional_data(http, root + "/props"))  # llama-server
        # A llama-server would log the other requests as errors. A server that is silent is asked them all the same.
        await asyncio.wait([first], timeout=_ALONE_S)
        if first.done() and _is_llama_server(first.result()):
            return _llama_server(first.result())
        version, info, tabby, studio, swap, described = await asyncio.gather(
            optional_data(http, root + "/version"),  # vLLM
            optional_data(http, root + "/get_server_info"),  # SGLang
            optional_data(http, root + "/v1/model"),  # TabbyAPI
            optional_data(http, root + "/api/v0/models"),  # LM Studio
            optional_data(http, root + "/running"),  # llama-swap
            optional_data(http, root + "/openapi.json"),
        )
    if _is_llama_server(props := first.result()):
        return _llama_server(props)
    if "tokenizer_path" in info or "model_path" in info:
        number = plain(text_at(info, "version"))
        return ServerProperties(
            kind="SGLang",
            version=number,
            context=count_at(info, "context_length") or None,
            facts=_program_facts("SGLang", number),
        )
    about = object_at(described, "info")
    if "llama.cpp Python API" in text_at(about, "title"):
        values = values_in_schema(described)
        return ServerProperties(
            kind="llama-cpp-python",
            version=plain(text_at(about, "version")),
            defaults=sampling_defaults(values),
            facts={"program": "llama.cpp", **sampling_facts(values)},
        )
    if "TabbyAPI" in text_at(about, "title") or "parameters" in tabby:
        parameters = object_at(tabby, "parameters")
        return ServerProperties(
            kind="TabbyAPI",
            context=count_at(parameters, "max_seq_len") or None,
            vision=flag_at(parameters, "use_vision"),
        )
    if isinstance(studio.get("data"), list):
        return ServerProperties(kind="LM Studio", facts=_program_facts("LM Studio"))
    if isinstance(swap.get("running"), list):
        return ServerProperties(kind="llama-swap")
    if number := plain(text_at(version, "version")):
        return ServerProperties(kind="vLLM", version=number, facts=_program_facts("vLLM", number))
    return ServerProperties()


async def identify_again(http: EndpointClient, server: ServerProperties) -> ServerProperties:
    """Return the server's present properties. Servers other than llama-server are assumed unchanged."""
    if server.kind != "llama-server" or server.routes:
        return server
    props = await optional_data(http, f"{http.endpoint.root}/props")
    return _llama_server(props) if _is_llama_server(props) else ServerProperties()


async def of_model(http: EndpointClient, server: ServerProperties, model: str) -> ServerProperties:
    """Return the server's properties, with the properties of the loaded model `model`. Raises ParagoneError."""
    if server.routes:
        asked = http.get(f"{http.endpoint.root}/props", params={"model": model})
        props = data_or_nothing(
            await await_reply(http.endpoint, asked, model=model, seconds=http.endpoint.options.load_timeout)
        )
        return dataclasses.replace(_llama_server(props), routes=True)
    if server.kind == "llama-swap":
        props = await optional_data(http, f"{upstream(http.endpoint.root, model)}/props")
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
    if server.kind == "LM Studio":
        described = await optional_data(http, f"{http.endpoint.root}/api/v1/models")
        return dataclasses.replace(server, context=context_of(described, model))
    return server


async def find_models(http: EndpointClient) -> tuple[ModelInfo, ...]:
    """List the server's models. Raises ParagoneError."""
    listed = await await_reply(http.endpoint, _listed(http))
    return tuple(_info(entry) for item in listed if text_at(entry := object_at(item), "id").strip())


async def _listed(http: EndpointClient) -> Sequence[Json]:
    listed = data_or_nothing(await http.get(f"{http.endpoint.url}/models")).get("data")
    if not isinstance(listed, list):
        raise InvalidReply("a reply that is not a list of models")
    return listed


def _info(entry: JsonObject) -> ModelInfo:
    model = entry["id"]
    name = plain(text_at(entry, "id"))
    meta = object_at(entry, "meta")  # llama-server's
    context = (
        count_at(entry, "max_model_len")  # vLLM, SGLang
        or count_at(entry, "loaded_context_length")  # LM Studio
        or count_at(entry, "max_context_length")
        or count_at(meta, "n_ctx_train")
        or None
    )
    return ModelInfo(
        model=name,
        name=name,
        size=count_at(meta, "size"),
        quantization=plain(text_at(entry, "quantization"))
        or _file_type(plain(text_at(meta, "ftype")))
        or None,
        architecture=plain(text_at(entry, "arch")) or None,
        parameters=count_at(meta, "n_params") or None,
        context=context,
        problem="" if name == model else "Its name has unprintable characters.",
    )


_FILE_TYPES = {"Q2_K - Medium": "Q2_K", "MXFP4 MoE": "MXFP4", "IQ3_S mix - 3.66 bpw": "IQ3_M"}


def _file_type(named: str) -> str:
    """Return the standard name of a quantization from llama-server's name, such as `Q4_K - Medium`; empty if unknown.

    The names are those of llama_ftype_name in llama.cpp's llama-model-loader.cpp.
    """
    named = named.removeprefix("(guessed) ").removeprefix("all ")
    name, _, size = named.partition(" - ")
    if named in _FILE_TYPES:
        return _FILE_TYPES[named]
    if size in ("Small", "Medium", "Large"):
        return f"{name}_{size[0]}"
    return "" if name.startswith("unknown") else name


def _program_facts(program: str, version: str = "") -> dict[str, str]:
    return {"program": program} | ({"version": version} if version else {})


def _is_llama_server(props: JsonObject) -> bool:
    return "default_generation_settings" in props or "total_slots" in props


def _llama_server(props: JsonObject) -> ServerProperties:
    settings = object_at(props, "default_generation_settings")
    values = values_in_props(props)
    return ServerProperties(
        kind="llama-server",
        version=plain(text_at(props, "build_info")),
        context=count_at(settings, "n_ctx") or count_at(props, "n_ctx") or None,
        routes=text_at(props, "role") == "router",
        vision=flag_at(props, "modalities", "vision"),
        template=text_at(props, "chat_template") if "chat_template" in props else None,
        model_file=plain(text_at(props, "model_path")),
        has_slots=flag_at(props, "endpoint_slots") is not False,
        seed=seed_in(values),
        defaults=sampling_defaults(values),
        facts={**build_in_props(props), **sampling_facts(values)},
    )
