"""The engines of a replay: the recorded engines, as this machine can open them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from paragone import Backend, InputError, Json
from paragone.json_fields import object_at
from paragone.options import describe
from paragone_workbench.config.settings import Config
from paragone_workbench.consent.actions import engine_actions, option_actions
from paragone_workbench.consent.consent import Consent
from paragone_workbench.engines.context_options import ContextOptions
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    address_of,
    apply_settings,
    check_engine,
    resolve,
    secret_options,
    server_of,
    settings_of,
    suggest,
    without_secrets,
)
from paragone_workbench.engines.foreign.answers import answer_apart
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.replaying.recorded import RecordedRun
from paragone_workbench.experiments.replaying.relocation import find_model
from paragone_workbench.experiments.weights import known_weights, weights_in
from paragone_workbench.store import History


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayChoices:
    """The user's choices for a replay."""

    settings: Sequence[str] = ()
    """`KEY=VALUE` or `NAME.KEY=VALUE`: options that replace recorded options."""
    replacements: Sequence[str] = ()
    """`NAME=SPEC`: an engine of this machine instead of a recorded one."""
    consent: Consent | None = None
    """The user's consent to the actions that the document names; None for runs of the user's own history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayEngine:
    """An engine to open, and the recorded runs to repeat on this engine."""

    recorded: EngineDefinition
    definition: EngineDefinition
    backend: Backend
    runs: Sequence[RecordedRun]
    overridden: frozenset[str]
    """Names of the options that the user set."""

    def sampling_of(self, run: RecordedRun) -> dict[str, Json]:
        """Return the sampling options for a run: the options of the recorded request, and the seed that was in force."""
        declared = {info.name for info in describe(self.backend.sampling)}
        wanted = dict(object_at(run.result.request, "sampling"))
        settings = run.result.settings
        if settings is not None and settings.seed is not None:
            wanted["seed"] = settings.seed
        left_out = self.overridden | secret_options(self.backend)
        return {name: value for name, value in wanted.items() if name in declared and name not in left_out}

    def left_out_of(self, run: RecordedRun) -> int | None:
        """Return how many of the oldest messages a run left out; None if unknown, or if the user set a context option."""
        left_out = run.result.request.get("left_out")
        is_chosen = any(info.name in self.overridden for info in describe(ContextOptions))
        return left_out if type(left_out) is int and left_out >= 0 and not is_chosen else None


async def engines_to_replay(
    runs: Iterable[RecordedRun],
    choices: ReplayChoices,
    config: Config,
    registry: Registry,
    history: History,
) -> tuple[ReplayEngine, ...]:
    """Return the engines for these runs, in the order of each engine's first run.

    Raises StoreError, and InputError if an engine cannot be opened here as recorded, or if a choice is wrong.
    """
    groups: list[list[RecordedRun]] = []
    for run in runs:
        of_engine = (group for group in groups if group[0].result.definition == run.result.definition)
        if (group := next(of_engine, None)) is None:
            groups.append(group := [])
        group.append(run)
    names = list(dict.fromkeys(group[0].result.definition.name for group in groups))
    replacements = _replacements(choices.replacements, names, config)
    engines: list[ReplayEngine] = []
    actions: list[str] = []
    folders = config.models.folders
    for group in groups:
        recorded = group[0].result.definition
        replacement = replacements.get(recorded.name)
        if replacement is not None:
            backend = registry.get(replacement.backend)
            definition = _replaced(recorded, replacement, backend)
        else:
            backend = _recorded_backend(recorded, registry)
            definition = without_secrets(recorded, backend)
            if choices.consent is not None:
                definition = _foreign(definition, backend)
            else:
                definition = _with_own_secrets(definition, backend, config)
            weights = await known_weights(history, weights_in(group[-1].result.manifest))
            model = await find_model(definition, weights, backend, history, folders)
            definition = dataclasses.replace(definition, model=model)
        settings = settings_of(recorded.name, choices.settings, names)
        definition = apply_settings(definition, backend, settings)
        await answer_apart(partial(check_engine, definition, backend, tell=registry.tell))
        engine = ReplayEngine(
            recorded=recorded,
            definition=definition,
            backend=backend,
            runs=group,
            overridden=frozenset(setting.partition("=")[0].strip() for setting in settings),
        )
        engines.append(engine)
        if choices.consent is not None:
            naming = partial(_actions, engine, replacement, settings, choices.consent.document, folders)
            actions += await answer_apart(naming)
    if choices.consent is not None:
        hint = "Name engines of yours instead, --engine NAME=BACKEND:MODEL, or write --trust to consent."
        asking = partial(choices.consent.require, actions, hint=hint)  # waits for the user
        await answer_apart(asking)
    return tuple(engines)


def _replacements(texts: Iterable[str], names: Sequence[str], config: Config) -> dict[str, EngineDefinition]:
    found: dict[str, EngineDefinition] = {}
    for text in texts:
        name, equals, spec = text.partition("=")
        if not equals or not spec:
            raise InputError(f"{text!r} names no replacement.", hint="Write NAME=ENGINE, such as smol=other.")
        if name not in names:
            raise InputError(f"No recorded run used an engine {name!r}.", hint=suggest(name, names))
        found[name] = resolve(spec, config.engines)
    return found


def _recorded_backend(recorded: EngineDefinition, registry: Registry) -> Backend:
    backend = registry.find(recorded.backend)
    if backend is None:
        raise InputError(
            f"The engine {recorded.name} cannot be opened here: there is no backend {recorded.backend!r}.",
            hint="Install the package of this backend, or name an engine to use instead: "
            f"--engine {recorded.name}=BACKEND:MODEL.",
        )
    return backend


def _replaced(
    recorded: EngineDefinition, replacement: EngineDefinition, backend: Backend
) -> EngineDefinition:
    """Return the replacement, with the recorded options if the replacement is a local engine of the same backend.

    The recorded options of an engine on a server are dropped, since a stranger may have written these options, which
    decide what is sent to which address.
    """
    options = dict(replacement.options)
    if recorded.backend == backend.name and backend.capabilities.local:
        options = {**without_secrets(recorded, backend).options, **options}
    return dataclasses.replace(replacement, name=recorded.name, options=options)


def _with_own_secrets(definition: EngineDefinition, backend: Backend, config: Config) -> EngineDefinition:
    """Return the engine with the keys of the configured engine of the same name, if the server is the same."""
    own = config.engines.get(definition.name)
    if (
        own is None
        or own.backend != definition.backend
        or server_of(own, backend) != server_of(definition, backend)
    ):
        return definition
    secret = secret_options(backend)
    keys = {name: value for name, value in own.options.items() if name in secret}
    return dataclasses.replace(definition, options={**definition.options, **keys})


def _foreign(definition: EngineDefinition, backend: Backend) -> EngineDefinition:
    """Return the engine of a document with the options that are allowed here if the user consents.

    Of the load options of an engine on a server, only the address is kept: other options say which keys of this machine
    are sent. Raises InputError if the address has a variable in it.
    """
    if backend.capabilities.local:
        return definition
    if "$" in (address_of(definition, backend) or ""):
        raise InputError(
            f"The url of the engine {definition.name} in the document has a variable of your environment in it.",
            hint=f"Name an engine of yours instead: --engine {definition.name}=BACKEND:MODEL.",
        )
    kept = {info.name for info in describe(backend.sampling)}
    kept |= {info.name for info in describe(backend.load_options) if info.address}
    options = {name: value for name, value in definition.options.items() if name in kept}
    return dataclasses.replace(definition, options=options)


def _actions(
    engine: ReplayEngine,
    replacement: EngineDefinition | None,
    settings: Sequence[str],
    document: Path,
    folders: Sequence[str],
) -> list[str]:
    """Return what an engine and the requests of its runs do outside of the document's folder.

    Actions that follow from the user's choices, a replacement or settings, are left out.
    """
    backend = engine.backend

    def of(definition: EngineDefinition) -> tuple[str, ...]:
        return engine_actions(definition, backend, document, folders)

    if replacement is not None:
        chosen = {*of(apply_settings(replacement, backend, settings))}
    else:
        bare = dataclasses.replace(engine.definition, python=None, address=None, options={})
        chosen = {*of(apply_settings(bare, backend, settings))} - {*of(bare)}
    found = [*of(engine.definition)]
    for run in engine.runs:
        found += option_actions(backend.sampling, engine.sampling_of(run), document)
    return [
        f"the engine {engine.recorded.name} {action}"
        for action in dict.fromkeys(found)
        if action not in chosen
    ]
