"""Batches: the unfinished runs of an experiment as a file of requests for another machine, and the results as runs. Both
files have the format of OpenAI's batch API, as vLLM implements it: `BatchRequestInput` and `BatchRequestOutput` in
`vllm/entrypoints/openai/run_batch.py`. All requests of a file name one model, because `vllm run-batch` serves one."""

import contextlib
import dataclasses
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import NamedTuple

import paragone
from paragone import answer_text, files, json_values, shared_options, texts, wire
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    declared_options,
    load_and_sampling_options,
)
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import assertions, results, suite
from paragone_workbench.ids import derived_id
from paragone_workbench.paths import replacing
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult, manifest
from paragone_workbench.store import Experiment, History, RunKey
from paragone_workbench.text import is_date

_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([0-9]{1,9})-([0-9]{1,9})-([0-9]{1,9})")
"""A `custom_id`: the experiment's id, engine, prompt and repetition. It has at most 64 characters."""

_CUSTOM_ID = re.compile(rb'"custom_id": ?"(?=%b")([^"]{36})' % _ID.pattern.encode())

_VERSION = re.compile(r"(-latest|-\d{4}-?\d{2}-?\d{2}|-\d{4})$")
"""The end of a model's name that services add to an alias or replace: gpt-4o answers as gpt-4o-2024-08-06."""

_SAME = {"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop", "max_tokens"}
"""Options that have the same name in the body of a request."""

_OF_ACCESS = {"sent", "file", "command"}
"""The values of `OptionInfo.outside` for options on the access to a server, such as the API key."""


class BatchEngine(NamedTuple):
    definition: EngineDefinition
    backend: paragone.Backend
    sampling: Mapping[str, paragone.Json]
    fields: Mapping[str, paragone.Json]
    left_out: tuple[str, ...]


def batch_engine(definition: EngineDefinition, registry: Registry) -> BatchEngine:
    """Raise InputError if the model is loaded on this machine, an option is invalid, or the backend is missing."""
    backend = registry.get(definition.backend)
    if backend.capabilities.local:  # a server does not know a model of this machine by its name
        raise paragone.InputError(
            f"The engine {definition.name} loads its model on this machine; a batch names a model of a server.",
            hint="Use an engine such as openai:MODEL@URL.",
        )
    _, sampling = load_and_sampling_options(definition, backend)
    found = {name: _fields(name, value) for name, value in sampling.items()}
    return BatchEngine(
        definition,
        backend,
        {name: value for name, value in sampling.items() if found[name]},
        {field: value for fields in found.values() for field, value in fields.items()},
        tuple(
            name
            for name, (_, info) in declared_options(backend).items()
            if definition.options.get(name) not in (None, info.default)
            and not (found.get(name) or info.outside in _OF_ACCESS or info.secret)
        ),
    )


def _fields(name: str, value: paragone.Json) -> dict[str, paragone.Json]:
    """Return the fields of the body for an option; empty if there are none. Raises InputError for an invalid value."""
    if value is None or value in ([], ()):
        return {}
    if name in _SAME:
        return {name: value}
    if name == "json_schema" and isinstance(value, str):
        named: paragone.Json = {"name": "answer", "schema": json_values.read_schema(value), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if name == "thinking" and isinstance(value, bool | int | str):
        effort = shared_options.thinking_choice(value).effort
        return {} if effort is None else {"reasoning_effort": effort}
    return {}


async def write_batch(
    history: History, experiment: Experiment, request: suite.SuiteRequest, engine: BatchEngine, path: Path
) -> int:
    """Write the unfinished runs of an engine as requests. Returns the number of requests. Raises ParagoneError."""
    index = experiment.engines.index(engine.definition)
    requests = 0
    with contextlib.ExitStack() as opened:
        async for cell in suite.unfinished_cells(history, experiment, request, [index]):
            if not requests:
                file = opened.enter_context(replacing(path))
            key, prompt = cell
            if prompt.choices:
                raise paragone.InputError(
                    "A batch cannot ask for the log-probabilities of choices.",
                    hint="Prompts with 'choices' need an engine that loads its model on this machine.",
                )
            messages: list[paragone.Json] = [
                {"role": message.role, "content": message.text} for message in prompt.messages
            ]
            seed = suite.seed_option(cell, engine.definition, engine.backend)
            line: paragone.Json = {
                "custom_id": f"{experiment.id}-{index}-{key.prompt_index}-{key.repetition}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": engine.definition.model, "messages": messages, **engine.fields, **seed},
            }
            file.write(wire.json_text(line) + "\n")
            requests += 1
    return requests


def experiment_in(path: Path) -> str | None:
    """Return the id of the experiment whose results a file has; None for a file of another kind. Raises InputError."""
    with files.reading(path, hint="Name the file of results.") as file:
        for line in itertools.islice(file, 100):
            if match := _CUSTOM_ID.search(line):
                return match[1].decode()
    return None


async def read_batch(
    history: History,
    experiment: Experiment,
    path: Path,
    registry: Registry,
    catalog: assertions.AssertionCatalog,
    counts: Counter[str],
) -> AsyncGenerator[suite.Problem | None, None]:
    """Save the results in a file as runs, one by one. After each line, yield why it is not imported; None if it is
    imported. Counts in `counts` "answers", "errors", "known" results and "refused" lines. Raises StoreError, and
    InputError if the file cannot be read."""
    with files.reading(path, hint="Name the file of results.") as file:
        for number, line in enumerate(file, start=1):
            problem = None
            if line.strip():
                try:
                    counts[await _take(history, experiment, line, registry, catalog)] += 1
                except paragone.InputError as error:
                    counts["refused"] += 1
                    problem = number, str(error)
            yield problem


async def _take(
    history: History,
    experiment: Experiment,
    line: bytes,
    registry: Registry,
    catalog: assertions.AssertionCatalog,
) -> str:
    """Save the result in a line, and return which count to increase. An answer replaces an error, but never an answer."""
    try:
        data = wire.parse_json(line)
    except ValueError as fault:
        raise paragone.InputError(f"This is not valid JSON: {fault}.") from fault
    if not isinstance(custom_id := json_values.value_at(data, "custom_id"), str):
        raise paragone.InputError("This is not a result of a batch: there is no custom_id.")
    match = _ID.fullmatch(custom_id)
    if match is None:
        raise paragone.InputError(
            f"The custom_id {texts.quoted(custom_id)} was not written by `paragone suite export`."
        )
    if match[1] != experiment.id:
        raise paragone.InputError("The result belongs to another experiment.")
    engine_index, prompt_index, repetition = map(int, match.groups()[1:])
    own, key = experiment.number, RunKey(prompt_index, engine_index, repetition)
    contents = await history.call(lambda store: dict(store.experiments.prompts(own, prompt_index, 1)))
    is_known = engine_index < len(experiment.engines) and repetition < experiment.repetitions
    if not is_known or prompt_index not in contents:
        raise paragone.InputError(f"e{own} has no run with the custom_id {texts.quoted(custom_id)}.")
    prompt = suite.prompt_from(prompt_index, contents[prompt_index])
    run = _run(data, custom_id, batch_engine(experiment.engines[engine_index], registry), (key, prompt))
    saved = await history.call(lambda store: store.experiments.run_at(own, key))
    if saved is not None:
        if saved.result.id == run.id or (saved.result.state == "done" and run.state == "failed"):
            return "known"
        if saved.result.state == "done" or run.state == "failed":
            raise paragone.InputError(
                f"The request has another result already, e{own}/{saved.number}, which is kept."
            )
    prompt = prompt if run.state == "done" else dataclasses.replace(prompt, assertions=())
    checks = await assertions.evaluate(prompt, results.answer_of(run), catalog)
    found = [wire.to_json(check) for check in checks]
    await history.call(lambda store: store.experiments.save(own, key, run, found))
    return "answers" if run.state == "done" else "errors"


def _run(data: paragone.Json, custom_id: str, engine: BatchEngine, cell: suite.Cell) -> RunResult:
    """Return the run of a result, without durations. The id depends only on the request and the answer."""
    body = json_values.object_at(data, "response", "body")
    choice = next(iter(json_values.list_at(body, "choices")), None)
    error = _fault(data)
    text, thinking = ("", "") if error else _texts(choice)
    reason = json_values.text_at(choice, "finish_reason")
    seed = suite.seed_option(cell, engine.definition, engine.backend)
    request = paragone.RunRequest(messages=cell[1].messages, sampling={**engine.sampling, **seed})
    wanted = engine.definition.model
    named = json_values.text_at(body, "model") or wanted
    if _VERSION.sub("", named) != _VERSION.sub("", wanted):
        raise paragone.InputError(
            f"The model {texts.quoted(named)} answered instead of {texts.quoted(wanted)}."
        )
    refused = (f"A batch has no field for {name}, so the option was omitted." for name in engine.left_out)
    cautions = [paragone.Caution(code="option-refused", sentence=message) for message in refused]
    if reason == "content_filter":
        cautions.append(paragone.Caution(code="filtered", sentence="The server's filter ended the answer."))
    metrics, usage = None, json_values.object_at(body, "usage")
    if (generated := json_values.count_at(usage, "completion_tokens")) is not None:
        cached = json_values.count_at(usage, "prompt_tokens_details", "cached_tokens")
        prompt = json_values.count_at(usage, "prompt_tokens")
        metrics = RunMetrics(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=generated)
    created = json_values.number_at(body, "created")
    return RunResult(
        # written as ASCII, because a text from JSON may have half a surrogate pair
        id=derived_id("batch", custom_id, json.dumps([error, text, thinking])),
        definition=engine.definition,
        started=float(created) if created is not None and is_date(created) else time.time(),
        state="failed" if error else "done",
        finish=None if error else "length" if reason == "length" else "stop",
        error=error,
        hint="`paragone suite export` with --retry-failed writes the request again." if error else "",
        text=text,
        thinking=thinking,
        cautions=tuple(cautions),
        metrics=metrics,
        manifest=manifest(
            engine.definition, engine.backend, paragone.LoadedModel(name=named), request, schedule="batch"
        ),
    )


def _fault(data: paragone.Json) -> str:
    """Return why a request failed; empty if it did not fail. `error` is null, a text, or an object with `message` or
    `error`. It may also be in the response."""
    status = json_values.value_at(data, "response", "status_code")
    fault = json_values.value_at(data, "error") or json_values.value_at(data, "response", "body", "error")
    if not fault and status in (None, 200):
        return ""
    while isinstance(fault, Mapping):
        fault = fault.get("message") or fault.get("error") or fault.get("code")
    why = " ".join(str(fault or "the result has no reason").split())
    why = texts.shortened(texts.without_key_words(why), 500)  # services may quote a wrong key
    code = f" (HTTP {status})" if isinstance(status, int) else ""
    return f"The request failed in the batch{code}: {why.rstrip('.')}."


def _texts(choice: paragone.Json) -> tuple[str, str]:
    """Return the answer and the thinking of a choice. Raises InputError."""
    message = json_values.object_at(choice, "message")
    content = message.get("content")
    if not message or not isinstance(content, str | None):
        raise paragone.InputError("The result has neither an error nor a text in choices[0].message.")
    text, names = content or "", ("reasoning_content", "reasoning")
    thinking = next(filter(None, (json_values.text_at(message, name) for name in names)), "")
    if not thinking:  # the server may have left it between tags before the answer
        reader = answer_text.AnswerText()
        tokens = [*reader.push(text, None, 0.0), *reader.finish()]
        text = "".join(token.text for token in tokens if token.channel == "answer")
        thinking = "".join(token.text for token in tokens if token.channel == "thinking")
    return text or json_values.text_at(message, "refusal"), thinking
