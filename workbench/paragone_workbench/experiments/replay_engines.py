"""Finds a model on this machine if there is no file at the path in the manifest."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from paragone import Backend, InputError, Json, WeightsFile, json_values, threads, wire
from paragone.options import describe
from paragone_workbench import models, paths, store
from paragone_workbench.config.settings import Config
from paragone_workbench.consent import Consent, engine_actions, option_actions
from paragone_workbench.engines import definitions
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import recorded_runs
from paragone_workbench.experiments.identity import digest_weights, known_weights, weights_in


async def find_model(
    definition: definitions.EngineDefinition,
    weights: Sequence[WeightsFile],
    backend: Backend,
    history: store.History,
    folders: Sequence[str],
) -> str:
    """Return the recorded model, else a model on this machine with the same content or file name. Raises StoreError
    and InputError."""
    # Files without a time of change are on servers.
    files = [file for file in weights if file.modified_ns is not None]
    if not files:
        return definition.model
    first = files[0]
    if paths.accessible(first.path):
        return _recorded(definition.model, Path(first.path))
    beside = ""  # the file's name in the model's folder; empty if the model is the file
    if Path(first.path).name != Path(definition.model).name:
        beside = Path(first.path).name
    named: list[str] = []
    for model in await models.find_models(backend, folders) or ():
        path = Path(definitions.expand_home(model.model)) / beside
        try:
            found = WeightsFile.of(path)
        except (OSError, ValueError):
            continue
        if found.size == first.size and first.sha256 is not None:
            (digested,) = await digest_weights(history, [found])
            if digested.sha256 == first.sha256:
                return model.model
        if Path(model.model).name == Path(definition.model).name:
            named.append(model.model)
    if named:
        return named[0]
    raise InputError(
        f"The weights of {definition.name} are gone: there is no file {first.path}, and no model on this machine "
        "has the same content or file name.",
        hint=f"Name the engine to use instead: --engine {definition.name}=BACKEND:MODEL. "
        "`paragone engines models` lists the models.",
    )


def _recorded(model: str, file: Path) -> str:
    """Return the recorded model. A relative path that was recorded in another folder becomes absolute."""
    path = Path(definitions.expand_home(model))
    found = [recorded for recorded in (file, file.parent) if recorded.name == path.name]
    return model if path.absolute() in found or path.is_absolute() or not found else str(found[0])


@dataclass(slots=True, kw_only=True, eq=False)
class ReplayEngine:
    """An engine that repeats runs, and facts about the runs that it has repeated."""

    recorded: definitions.EngineDefinition
    definition: definitions.EngineDefinition
    backend: Backend
    runs: Sequence[recorded_runs.Recorded]
    overridden: frozenset[str]
    repeated: list[recorded_runs.Recorded] = field(default_factory=list)
    weights: recorded_runs.WeightsVerdict = field(default_factory=recorded_runs.WeightsVerdict)
    changes: list[recorded_runs.Change] = field(default_factory=list)
    promises: bool = True
    """Whether the engine promises the same answer for the same seed."""
    unknown_seeds: int = 0
    """Number of runs whose sampling depended on an unknown seed."""
    reused_cache: int = 0
    """Number of recorded runs that reused the KV cache. The repetition is cold, and so cannot be exact."""

    def add(self, changes: Iterable[recorded_runs.Change]) -> None:
        self.changes += [change for change in changes if change not in self.changes]

    def sampling_of(self, run: recorded_runs.Recorded) -> dict[str, Json]:
        """Return the sampling options for a run: the options of the recorded request, and the seed that was used."""
        declared = {info.name for info in describe(self.backend.sampling)}
        wanted = dict(json_values.object_at(run.result.request, "sampling"))
        settings = run.result.settings
        if settings is not None and settings.seed is not None:
            wanted["seed"] = settings.seed
        left_out = self.overridden | definitions.secret_options(self.backend)
        return {name: value for name, value in wanted.items() if name in declared and name not in left_out}

    def left_out_of(self, run: recorded_runs.Recorded) -> int | None:
        """Return how many of the oldest messages a run dropped; None if unknown, or if the user set a context option."""
        left_out = run.result.request.get("left_out")
        is_chosen = any(info.name in self.overridden for info in describe(definitions.ContextOptions))
        return left_out if type(left_out) is int and left_out >= 0 and not is_chosen else None


async def engines_to_replay(
    runs: Iterable[recorded_runs.Recorded],
    config: Config,
    registry: Registry,
    history: store.History,
    *,
    settings: Sequence[str] = (),
    replacements: Sequence[str] = (),
    consent: Consent | None = None,
) -> tuple[ReplayEngine, ...]:
    """Return the engines for these runs, in the order of their first runs. Raises StoreError, and InputError for wrong
    choices. `settings` (`KEY=VALUE` or `NAME.KEY=VALUE`) replace recorded options, `replacements` (`NAME=SPEC`)
    replace recorded engines. `consent` is the user's consent to the actions that a document names; None for runs of
    the user's own history."""
    by_engine: dict[str, list[recorded_runs.Recorded]] = {}
    for run in runs:
        by_engine.setdefault(wire.json_text(wire.to_json(run.result.definition)), []).append(run)
    groups = list(by_engine.values())
    names = list(dict.fromkeys(group[0].result.definition.name for group in groups))
    replaced = _replacements(replacements, names, config)
    engines: list[ReplayEngine] = []
    actions: list[str] = []
    folders = config.models.folders
    for group in groups:
        recorded = group[0].result.definition
        replacement = replaced.get(recorded.name)
        if replacement is not None:
            backend = registry.get(replacement.backend)
            definition = _replaced(recorded, replacement, backend)
        else:
            found = registry.find(recorded.backend)
            if found is None:
                raise InputError(
                    f"The engine {recorded.name} cannot be opened: there is no backend {recorded.backend!r}.",
                    hint="Install the package of this backend, or name an engine to use instead: "
                    f"--engine {recorded.name}=BACKEND:MODEL.",
                )
            backend = found
            definition = definitions.without_secrets(recorded, backend)
            if consent is not None:
                definition = _foreign(definition, backend)
            else:
                definition = _with_own_secrets(definition, backend, config)
            weights = await known_weights(history, weights_in(group[-1].result.manifest))
            model = await find_model(definition, weights, backend, history, folders)
            definition = dataclasses.replace(definition, model=model)
        own = definitions.settings_of(recorded.name, settings, names)
        definition = definitions.apply_settings(definition, backend, own)
        definitions.check_engine(definition, backend)
        engine = ReplayEngine(
            recorded=recorded,
            definition=definition,
            backend=backend,
            runs=group,
            overridden=frozenset(setting.partition("=")[0].strip() for setting in own),
        )
        engines.append(engine)
        if consent is not None:
            naming = partial(_actions, engine, replacement, own, consent.document, folders)
            actions += await threads.run_in_thread(naming)
    if consent is not None:
        hint = "Name your own engines instead with --engine NAME=BACKEND:MODEL, or write --trust to consent."
        asking = partial(consent.require, actions, hint=hint)  # waits for the user
        await threads.run_in_thread(asking)
    return tuple(engines)


def _replacements(
    texts: Iterable[str], names: Sequence[str], config: Config
) -> dict[str, definitions.EngineDefinition]:
    found: dict[str, definitions.EngineDefinition] = {}
    for text in texts:
        name, equals, spec = text.partition("=")
        if not equals or not spec:
            raise InputError(f"{text!r} names no replacement.", hint="Write NAME=ENGINE, such as smol=other.")
        if name not in names:
            raise InputError(
                f"No recorded run used an engine {name!r}.", hint=definitions.suggest(name, names)
            )
        found[name] = definitions.resolve(spec, config.engines)
    return found


def _replaced(
    recorded: definitions.EngineDefinition, replacement: definitions.EngineDefinition, backend: Backend
) -> definitions.EngineDefinition:
    """Return the replacement, with the recorded options if the replacement is a local engine of the same backend. The
    recorded options of an engine on a server are dropped: a stranger may have written them, and they decide what is
    sent to which address."""
    options = dict(replacement.options)
    if recorded.backend == backend.name and backend.capabilities.local:
        options = {**definitions.without_secrets(recorded, backend).options, **options}
    return dataclasses.replace(replacement, name=recorded.name, options=options)


def _with_own_secrets(
    definition: definitions.EngineDefinition, backend: Backend, config: Config
) -> definitions.EngineDefinition:
    own = config.engines.get(definition.name)
    if own is None or own.backend != definition.backend:
        return definition
    if definitions.server_of(own, backend) != definitions.server_of(definition, backend):
        return definition
    secret = definitions.secret_options(backend)
    keys = {name: value for name, value in own.options.items() if name in secret}
    return dataclasses.replace(definition, options={**definition.options, **keys})


def _foreign(definition: definitions.EngineDefinition, backend: Backend) -> definitions.EngineDefinition:
    """Return the engine of a document with the options that are allowed here if the user consents. Of the load
    options of an engine on a server, only the address is kept: other options decide which keys of this machine are
    sent. Raises InputError if the address contains a variable."""
    if backend.capabilities.local:
        return definition
    if "$" in (definitions.address_of(definition, backend) or ""):
        raise InputError(
            f"The url of the engine {definition.name} in the document contains a variable of your environment.",
            hint=f"Name your own engine instead: --engine {definition.name}=BACKEND:MODEL.",
        )
    kept = {info.name for info in describe(backend.sampling)}
    kept |= {info.name for info in describe(backend.load_options) if info.address}
    options = {name: value for name, value in definition.options.items() if name in kept}
    return dataclasses.replace(definition, options=options)


def _actions(
    engine: ReplayEngine,
    replacement: definitions.EngineDefinition | None,
    settings: Sequence[str],
    document: Path,
    folders: Sequence[str],
) -> list[str]:
    """Return the actions of an engine and its runs outside the document's folder, except actions that the user has chosen."""
    backend = engine.backend

    def of(definition: definitions.EngineDefinition) -> tuple[str, ...]:
        return engine_actions(definition, backend, document, folders)

    if replacement is not None:
        chosen = {*of(definitions.apply_settings(replacement, backend, settings))}
    else:
        bare = dataclasses.replace(engine.definition, python=None, address=None, options={})
        chosen = {*of(definitions.apply_settings(bare, backend, settings))} - {*of(bare)}
    found = [*of(engine.definition)]
    for run in engine.runs:
        found += option_actions(backend.sampling, engine.sampling_of(run), document)
    return [
        f"the engine {engine.recorded.name} {action}"
        for action in dict.fromkeys(found)
        if action not in chosen
    ]
