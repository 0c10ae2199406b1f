"""The requests of a batch, in the form of OpenAI's batch API.

A line of the file is an object with `custom_id`, `method`, `url` and `body`, the body of a chat request. Sources:
https://platform.openai.com/docs/api-reference/batch/request-input, and `BatchRequestInput` in vLLM's
`vllm/entrypoints/openai/run_batch.py`. All lines of a file name one model: hosted services refuse a file with
several models, and `vllm run-batch` serves one model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from paragone import Backend, InputError, Json, Message
from paragone.json_schema import read_schema
from paragone.thinking import thinking_choice
from paragone.wire import json_text
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    declared_options,
    server_of,
    split_options,
)
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.batches.custom_ids import CustomId
from paragone_workbench.experiments.running.cells import Cell, seed_option
from paragone_workbench.store import Experiment

URL = "/v1/chat/completions"

_SAME = {"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop"}
"""Options that have the same name in the body of a request."""

_OF_ACCESS = {"sent", "file", "command"}
"""The values of `OptionInfo.outside` for options that say how to reach a server, such as the option for an API key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEngine:
    """An engine of an experiment, which turns runs into requests of a batch."""

    experiment: Experiment
    index: int
    """The engine's index in `Experiment.engines`."""
    backend: Backend
    sampling: Mapping[str, Json]
    """The sampling options that a request of a batch can express, without the seed, which each run has."""
    fields: Mapping[str, Json]
    """The fields of a request's body that express `sampling`."""
    left_out: tuple[str, ...]
    """The names of the options that a request of a batch cannot express."""

    @property
    def definition(self) -> EngineDefinition:
        """The definition of the engine, without secret options."""
        return self.experiment.engines[self.index]

    def sampling_of(self, cell: Cell) -> dict[str, Json]:
        """Return the sampling options of a run that a request of a batch can express."""
        return {**self.sampling, **seed_option(cell, self.definition, self.backend)}

    def line(self, cell: Cell) -> str:
        """Return the request for a run as a line of the file."""
        messages: list[Json] = [
            {"role": message.role, "content": _content(message)} for message in cell.prompt.messages
        ]
        seed = seed_option(cell, self.definition, self.backend)
        body: Json = {"model": self.definition.model, "messages": messages, **self.fields, **seed}
        request: Json = {
            "custom_id": str(CustomId(self.experiment.id, cell.key)),
            "method": "POST",
            "url": URL,
            "body": body,
        }
        return json_text(request) + "\n"


def batch_engine(experiment: Experiment, index: int, registry: Registry) -> BatchEngine:
    """Return the `BatchEngine` for an engine of an experiment.

    Raises InputError if the engine's model is loaded on this machine, if an option is invalid, or if the backend is missing.
    """
    definition = experiment.engines[index]
    backend = registry.get(definition.backend)
    if backend.capabilities.local:  # a server does not know a model of this machine by its name
        raise InputError(
            f"The engine {definition.name} loads its model on this machine; a batch names a model of a server.",
            hint=f"Use an engine such as openai:MODEL@URL, or run it: paragone suite run FILE --engines {definition.name}",
        )
    _, sampling = split_options(definition, backend)
    is_openai = server_of(definition, backend) == "api.openai.com"
    fields = {name: _fields(name, value, is_openai=is_openai) for name, value in sampling.items()}
    return BatchEngine(
        experiment=experiment,
        index=index,
        backend=backend,
        sampling={name: sampling[name] for name, found in fields.items() if found},
        fields={name: value for found in fields.values() for name, value in found.items()},
        left_out=tuple(_left_out(definition, backend, fields)),
    )


def _left_out(
    definition: EngineDefinition, backend: Backend, fields: Mapping[str, Mapping[str, Json]]
) -> Iterator[str]:
    """Yield the set options that have no field in the body, except options that say how the server is reached."""
    for name, (_, info) in declared_options(backend).items():
        value = definition.options.get(name)
        is_set = value is not None and value != info.default
        if is_set and not fields.get(name) and info.outside not in _OF_ACCESS and not info.secret:
            yield name


def _fields(name: str, value: Json, *, is_openai: bool) -> dict[str, Json]:
    """Return the fields of the body for an option; empty if there are none. Raises InputError for an invalid value."""
    if value is None or value in ([], ()):
        return {}
    if name in _SAME:
        return {name: value}
    if name == "max_tokens":  # OpenAI's reasoning models refuse `max_tokens`, which all other servers know
        return {"max_completion_tokens" if is_openai else name: value}
    if name == "json_schema" and isinstance(value, str):
        named: Json = {"name": "answer", "schema": read_schema(value), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if name == "thinking" and isinstance(value, bool | int | str):
        effort = thinking_choice(value).effort
        return {} if effort is None else {"reasoning_effort": effort}
    return {}


def _content(message: Message) -> Json:
    """Return the content of a message: text, or a list of parts if the message has images."""
    if not message.images:
        return message.text
    images: list[Json] = [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}
        for image in message.images
    ]
    return [*images, {"type": "text", "text": message.text}]
