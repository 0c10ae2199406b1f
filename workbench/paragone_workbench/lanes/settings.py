"""The settings of a lane: every option of its engine, with its value and the origin of the value."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone import InputError, Json
from paragone.options import OptionInfo, address_option, build, parse, value_text
from paragone_workbench.engines.definitions import EngineDefinition, declared_options, with_options

if TYPE_CHECKING:
    from paragone import Backend


Origin: TypeAlias = Literal["default", "config.toml", "saved", "command line", "conversation", "here"]
"""Where a value comes from. `default`: the backend or the engine. `saved`: an engine that was added on the screen.
`conversation`: the reopened conversation. `here`: a change on the screen."""


_MOST_USED = (
    *("temperature", "max_tokens", "seed", "top_p", "top_k", "min_p", "thinking", "stop", "json_schema"),
    "repeat_penalty",
)
"""The sampling options that users change most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    info: OptionInfo
    reloads: bool
    """Whether a change reloads the model. Other changes take effect with the next run."""
    value: Json
    """The value that was set; None for the default."""
    origin: Origin
    active: Json
    """The value that the engine reported for the last run; None if the engine reported no value."""


def lane_settings(
    definition: EngineDefinition,
    backend: Backend,
    sources: Iterable[tuple[Origin, EngineDefinition | None]] = (),
    *,
    active: Mapping[str, Json] | None = None,
) -> tuple[Setting, ...]:
    """Return the settings of a lane, sampling options first. `active` has the options that the engine reported for
    the last run. The origin of a value is the first of `sources` with the same engine and value."""
    values = _values(definition, backend)
    given = [
        (source, _values(engine, backend))
        for source, engine in sources
        if engine is not None and engine.is_called_like(definition)
    ]

    def origin(name: str) -> Origin:
        if name not in values:
            return "default"
        found = (source for source, own in given if name in own and own[name] == values[name])
        return next(found, "here")

    settings = [
        Setting(
            info=info,
            reloads=kind is backend.load_options,
            value=values.get(name),
            origin=origin(name),
            active=(active or {}).get(name),
        )
        for name, (kind, info) in declared_options(backend).items()
    ]
    return tuple(sorted(settings, key=lambda setting: (setting.reloads, _rank(setting.info))))


def _rank(info: OptionInfo) -> int:
    """Return the rank, from 0, of an option among the most used ones; all other options share the last rank."""
    if info.fact == "context":
        return 0
    return _MOST_USED.index(info.name) if info.name in _MOST_USED else len(_MOST_USED)


def edited(definition: EngineDefinition, backend: Backend, edits: Mapping[str, str]) -> EngineDefinition:
    """Return the definition with the options that the user typed; an empty text means the default. Raises InputError."""
    options, address = dict(definition.options), definition.address
    for name, (kind, info) in declared_options(backend).items():
        if name in edits:
            options.pop(name, None)
            address = None if info.address else address
            if edits[name]:
                options[name] = parse(kind, name, edits[name])
    return dataclasses.replace(definition, options=options, address=address)


def own_options(definition: EngineDefinition, engines: Mapping[str, EngineDefinition]) -> Mapping[str, Json]:
    """Return an engine's options that differ from its definition in `engines`: those of the command line and the screen."""
    namesake = engines.get(definition.name)
    if namesake is None or not namesake.has_model_of(definition):
        namesake = next((engine for engine in engines.values() if engine.has_model_of(definition)), None)
    defined = {} if namesake is None else namesake.options
    return {
        name: value
        for name, value in definition.options.items()
        if name not in defined or defined[name] != value
    }


def carried(
    options: Mapping[str, Json], sources: Iterable[Backend], definition: EngineDefinition, backend: Backend
) -> tuple[EngineDefinition, str]:
    """Return an engine with options that were set for engines of the backends `sources`, and a remark on renamed and
    refused ones. An option is renamed if the engine's backend has another name for the same fact. Load options
    that refer to files or servers, such as an adapter's file, are refused."""
    infos = {name: info for source in sources for name, (_, info) in declared_options(source).items()}
    taken: dict[str, Json] = {}
    remarks: list[str] = []
    refused: list[str] = []
    for name, value in options.items():
        target = _counterpart(name, infos.get(name), backend)
        if target is None or not _takes(backend, target, value):
            if value is not None:
                hidden = name in infos and (infos[name].secret or infos[name].address)
                refused.append(name if hidden else f"{name}={value_text(value)}")
            continue
        taken[target] = value
        if target != name:
            remarks.append(f"{name} is {target} here")
    if refused:
        remarks.append(f"it does not support {', '.join(refused)}")
    remark = f"{definition.name}: {'; '.join(remarks)}." if remarks else ""
    return with_options(definition, taken, backend), remark


def given_options(settings: Iterable[str], backends: Sequence[Backend]) -> Mapping[str, Json]:
    """Return the options of `key=value` settings, parsed by the first of `backends` that accepts the value, else as text."""
    found: dict[str, Json] = {}
    for setting in settings:
        name, _, text = (part.strip() for part in setting.partition("="))
        found[name] = text
        for declared in map(declared_options, backends):
            if name in declared:
                with contextlib.suppress(InputError):
                    found[name] = parse(declared[name][0], name, text)
                    break
    return found


def _counterpart(name: str, info: OptionInfo | None, backend: Backend) -> str | None:
    """Return the name of an option at another backend; None if that backend lacks the option, or the value suits only
    one model."""
    declared = declared_options(backend)
    same = next((it for _, it in declared.values() if info and info.fact and it.fact == info.fact), None)
    target = name if name in declared else None if same is None else same.name
    if target is None:
        return None
    kind, found = declared[target]
    is_tied = found.secret or found.address or found.outside
    return None if kind is backend.load_options and is_tied else target


def _takes(backend: Backend, name: str, value: Json) -> bool:
    try:
        build(declared_options(backend)[name][0], {name: value}, owner="")
    except InputError:
        return False
    return True


def summary(definition: EngineDefinition, backend: Backend | None) -> str:
    """Return the options that are set, as `name=value`, without secrets, the address, and options of a missing backend."""
    return "  ".join(f"{name}={value_text(value)}" for name, value in _shown(definition, backend).items())


def changes(before: EngineDefinition, after: EngineDefinition, backend: Backend | None) -> str:
    """Return the options that differ between two definitions, as `name=value`, except those that `summary` omits."""
    old, new = _shown(before, backend), _shown(after, backend)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name}={value_text(new.get(name)) or 'default'}" for name in names)


def _shown(definition: EngineDefinition, backend: Backend | None) -> dict[str, Json]:
    if backend is None:
        return {}
    infos = {name: info for name, (_, info) in declared_options(backend).items()}
    return {
        name: value
        for name, value in definition.options.items()
        if name in infos and value is not None and not (infos[name].secret or infos[name].address)
    }


def _values(definition: EngineDefinition, backend: Backend) -> dict[str, Json]:
    values: dict[str, Json] = {name: value for name, value in definition.options.items() if value is not None}
    option = address_option(backend.load_options)
    if definition.address is not None and option is not None:
        values[option.name] = definition.address
    return values
