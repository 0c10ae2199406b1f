"""Remove keys from imported conversations, and list the actions of their engines outside of the file's folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from paragone import Json
from paragone.json_fields import object_at
from paragone.key_text import without_key_words
from paragone.options import OptionInfo, describe
from paragone.wire import from_json, to_json
from paragone_workbench.consent.actions import named_actions, option_actions
from paragone_workbench.engines.definitions import EngineDefinition, declared_options, without_secrets
from paragone_workbench.engines.registry import Registry
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import SavedConversation

_DIGESTS = frozenset({"sha256", "messages_sha256"})
"""Names of values in manifests that look like keys, but are digests."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def conversation_actions(
    conversations: Sequence[SavedConversation], path: Path, registry: Registry, folders: Sequence[str]
) -> tuple[str, ...]:
    """Return the actions outside of the file's folder that imported conversations cause when they are opened or replayed.

    The actions are what the engines of all lanes and runs do, and the reading of files that sampling options of prompts
    and requests name. `folders` are the user's folders of models. Raises EngineError if a backend fails.
    """
    definitions = {
        repr(definition): definition for saved in conversations for definition in _definitions(saved)
    }
    actions = [*named_actions(definitions.values(), registry, path, folders)]
    samplings = {repr(sampling): sampling for saved in conversations for sampling in _samplings(saved)}
    for sampling in samplings.values():
        # the user may choose an engine of any backend to continue the lane, or for a replay
        for backend in registry.all().values():
            actions += (f"a request {action}" for action in option_actions(backend.sampling, sampling, path))
    return tuple(dict.fromkeys(actions))


def remove_secrets(saved: SavedConversation, registry: Registry) -> None:
    """Remove keys, and options that obtain keys, from the engines and requests of an imported conversation, not from its texts.

    An engine whose backend is not installed keeps only its name, its backend and its model, because the meaning of its
    options is unknown.
    """
    for lane in saved.lanes:
        lane.definition = _without_secrets(lane.definition, registry)
    for prompt in saved.conversation.prompts:
        if prompt.sampling:
            prompt.sampling = _public_sampling(prompt.sampling, registry)
    for run in saved.runs:
        run.result = _public_result(run.result, registry)


def _definitions(saved: SavedConversation) -> Iterator[EngineDefinition]:
    yield from (lane.definition for lane in saved.lanes)
    yield from (run.result.definition for run in saved.runs)


def _samplings(saved: SavedConversation) -> Iterator[Mapping[str, Json]]:
    yield from (prompt.sampling for prompt in saved.conversation.prompts if prompt.sampling)
    for run in saved.runs:
        if sampling := object_at(run.result.request, "sampling"):
            yield sampling


def _without_secrets(definition: EngineDefinition, registry: Registry) -> EngineDefinition:
    backend = registry.find(definition.backend)
    known = without_secrets(definition, backend)
    if backend is None:
        return dataclasses.replace(known, python=None, address=None)
    declared = {name: info for name, (_, info) in declared_options(backend).items()}
    return dataclasses.replace(known, options=_public_options(known.options, declared))


def _public_sampling(sampling: Mapping[str, Json], registry: Registry) -> Mapping[str, Json]:
    declared = {info.name: info for backend in registry.all().values() for info in describe(backend.sampling)}
    return _public_options(sampling, declared)


def _public_options(options: Mapping[str, Json], declared: Mapping[str, OptionInfo]) -> dict[str, Json]:
    """Return options without secrets. Templates, grammars and schemas are unchanged."""
    found: dict[str, Json] = {}
    for name, value in options.items():
        info = declared.get(name)
        if info is not None and info.secret:
            continue
        found[name] = value if info is not None and info.outside == "text or file" else _public(value)
    return found


def _public_result(result: RunResult, registry: Registry) -> RunResult:
    settings = result.settings
    if settings is not None and settings.sampling:
        settings = dataclasses.replace(settings, sampling=_public_sampling(settings.sampling, registry))
    cautions = tuple(
        dataclasses.replace(caution, sentence=without_key_words(caution.sentence))
        for caution in result.cautions
    )
    return dataclasses.replace(
        result,
        definition=_without_secrets(result.definition, registry),
        error=without_key_words(result.error),
        hint=without_key_words(result.hint),
        cautions=cautions,
        settings=settings,
        manifest=_public_manifest(result.manifest, registry),
    )


def _public_manifest(manifest: Mapping[str, Json], registry: Registry) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in manifest.items():
        if name == "engine" and isinstance(value, Mapping):
            try:
                found[name] = to_json(_without_secrets(from_json(EngineDefinition, value), registry))
            except (TypeError, ValueError):
                continue  # another program wrote this definition
        elif name == "request" and isinstance(value, Mapping):
            sampling = value.get("sampling")
            rest = _public({key: part for key, part in value.items() if key != "sampling"})
            assert isinstance(rest, dict)
            found[name] = rest
            if isinstance(sampling, Mapping):
                rest["sampling"] = _public_sampling(sampling, registry)
        else:
            found[name] = _public(value)
    return found


def _public(value: Json) -> Json:
    """Return a value without secret keys in its texts."""
    if isinstance(value, str):
        return without_key_words(value)
    if isinstance(value, Mapping):
        return {name: part if _is_digest(name, part) else _public(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_public(part) for part in value]
    return value


def _is_digest(name: str, value: Json) -> bool:
    return name in _DIGESTS and isinstance(value, str) and _DIGEST.fullmatch(value) is not None
